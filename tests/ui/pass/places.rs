//! Tasks stand where functions stand.

use sector7g_tasks::prelude::*;

mod outer {
    pub mod inner {
        use sector7g_tasks::prelude::*;
        use serde::{Deserialize, Serialize};

        #[derive(Serialize, Deserialize)]
        pub(in crate::outer) struct Gauge(pub(in crate::outer) u8);

        #[task(queue = "charlie")]
        pub(in crate::outer) async fn read(gauge: Gauge) -> Gauge {
            gauge
        }

        #[task(queue = "charlie")]
        pub(super) async fn write(gauge: Gauge) {
            let _ = gauge;
        }

        #[task(queue = "charlie")]
        pub fn seen_everywhere() {}
    }

    pub fn jobs() {
        let _ = (inner::read::job(inner::Gauge(1)), inner::write::job(inner::Gauge(2)));
    }
}

// Two tasks in one place, one with the attribute's full path.
mod pair {
    #[sector7g_tasks::task(queue = "carl")]
    pub async fn first() {}

    #[sector7g_tasks::task(queue = "carl")]
    pub async fn second() {}
}

/// A task by a macro, with what the macro was given.
macro_rules! gauge {
    ($name:ident, $queue:literal, $timeout:expr, $type:ty, $default:expr) => {
        #[task(queue = $queue, timeout = $timeout)]
        async fn $name(#[arg(default = $default)] value: $type) -> $type {
            value
        }
    };
}

gauge!(pressure, "charlie", 300, u16, 7);
gauge!(temperature, "charlie", "5m", Option<f64>, None);

fn main() {
    #[task(queue = "homer")]
    async fn within(count: u8) -> u8 {
        count
    }

    #[derive(Worker)]
    #[worker(queue = "homer", cron(within, "@daily"))]
    struct Homer;

    outer::jobs();
    let _ = (within::job(3), outer::inner::seen_everywhere::job(), pair::first::job(), pair::second::job());
    let _ = (pressure::job(1), temperature::job(None), Homer::SETTINGS);
}
