//! Canaries: neither the broker's password nor a redacted argument stands in what any subcommand says.

use super::*;

const CANARY: &str = "canary7391628";

/// Every subcommand, those that change something last; `ID` and `LATER` are a dead and a deferred job.
const COMMANDS: [&str; 20] = [
    "health status",
    "health status --detailed",
    "queues",
    "jobs list",
    "jobs list --deferred --task stumbles",
    "jobs show ID",
    "jobs show LATER",
    "dead list",
    "dead causes",
    "dead show ID",
    "schedule list",
    "top",
    "dashboard --listen 127.0.0.1:port",
    "completions bash",
    "pause rod",
    "resume rod",
    "jobs run-now LATER",
    "jobs abort LATER",
    "dead retry ID --yes",
    "dead discard --queue rod --all --yes",
];

#[tokio::test]
async fn no_subcommand_says_a_secret() {
    let user = format!("on >{CANARY} ~* &* +@all");
    let few = format!("on >{CANARY} ~arq:* resetchannels -@all +ping +time");
    let server = RedisServer::builder().password(CANARY).user("milhouse", &user).user("ralph", &few).start();
    let port = server.port();
    let good = format!("redis://milhouse:{CANARY}@127.0.0.1:{port}/0");
    let broker = Arc::new(RedisBroker::builder(good.clone()).build().unwrap());
    let inventory = Inventory::empty().task::<stumbles>().task::<counts_the_year>().worker::<Rod>();
    let harness = Harness::on(broker).inventory(inventory).setup(|runner| runner.state(Mended::default()));
    let (client, fleet) = (harness.client(), harness.start());
    let dead = client.enqueue(stumbles::job(4, CANARY.to_owned())).await.unwrap();
    dead.result().await.unwrap_err();
    let later = stumbles::job(5, CANARY.to_owned()).delay(Duration::from_secs(3_600));
    let later = client.enqueue(later).await.unwrap();
    let urls = [
        good,
        format!("redis://ralph:{CANARY}@127.0.0.1:{port}/0"),
        format!("redis://milhouse:wrong-{CANARY}@127.0.0.1:{port}/0"),
        format!("redis://milhouse:{CANARY}@127.0.0.1:1/0"),
        format!("redis://milhouse:{CANARY}@127.0.0.1:port/0"),
        format!("nonsense://milhouse:{CANARY}@127.0.0.1:{port}"),
    ];
    let (mut all, mut well) = (String::new(), 0);
    for (nth, url) in urls.iter().enumerate().rev() {
        for words in COMMANDS {
            let words = words.replace("ID", dead.id().as_str()).replace("LATER", later.id().as_str());
            for json in [true, false] {
                let mut command = command(&words.split_whitespace().collect::<Vec<_>>());
                command.args(json.then_some("--json")).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
                if json {
                    command.env("REDIS_URL", url)
                } else {
                    command.args(["--redis", url])
                };
                let Said { code, out, err } = said(command);
                assert!(!out.contains("7391628") && !err.contains("7391628"), "{words} at {url}: {out}{err}");
                well += u32::from(nth == 0 && code == 0);
                all += &(out + &err);
            }
        }
    }
    assert!(well > 24, "{well} of {} did what they are for: {all}", 2 * COMMANDS.len());
    for shown in ["***", "no coolant in reactor 4", "127.0.0.1:1"] {
        assert!(all.contains(shown), "the search would find it: {shown}");
    }
    fleet.stop().await.unwrap();
}
