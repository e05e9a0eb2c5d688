//! What else stands on a task stays on its function; a `cfg` counts for all of it.

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
#[cfg(any())]
async fn never(argument: DoesNotExist) -> NorDoesThis {
    not_compiled()
}

#[cfg(any())]
#[task(queue = "homer")]
async fn never_either(argument: DoesNotExist) {}

#[task(queue = "homer")]
#[cfg(not(any()))]
async fn always() {}

#[task(queue = "homer")]
#[cfg(any())]
async fn platform() -> u8 {
    1
}

#[task(queue = "homer")]
#[cfg(not(any()))]
async fn platform() -> u16 {
    2
}

#[task(queue = "reports")]
#[cfg(any())]
fn never_elsewhere(argument: DoesNotExist);

/// Attributes of the function and of a parameter.
#[task(queue = "homer")]
#[allow(unused_variables, clippy::needless_pass_by_value, reason = "for this test")]
#[inline]
async fn careless(donuts: u8, #[allow(unused_mut)] mut box_id: String) {}

fn main() {
    let _ = (always::job(), platform::job(), careless::job(1, String::new()));
}
