//! Expansions as snapshots, errors as text.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::quote;

use super::{expand, kebab_case};
use crate::testing::{errors, snapshot};

fn expanded(options: TokenStream) -> TokenStream {
    let options = Group::new(Delimiter::Parenthesis, options);
    expand(quote! { #[worker #options] struct InanimateRod; }, &quote!(::sector7g_tasks))
}

#[test]
fn the_least() {
    snapshot("worker_least", expanded(quote!(queue = "inanimate_rod")));
}

#[test]
fn every_option() {
    snapshot(
        "worker_full",
        expanded(quote!(
            queues("high" = 3, "low" = 1),
            name = "rod",
            max_jobs = 15,
            job_timeout = "5m",
            max_tries = 3,
            keep_result = "forever",
            poll_delay = 0.25,
            health_check_interval = 10,
            job_completion_wait = 0,
            lease = "500ms",
            unknown_task_grace = "1m",
            misfire_window = "90s",
            max_payload_size = 131_072,
            max_result_size = 65_536,
            timezone = "Europe/Berlin",
            on_startup = hooks::warm_up,
            on_shutdown = hooks::cool_down,
            on_job_start = job_starts,
            on_job_end = job_ends,
            after_job_end = crate::job_ended,
            alerts(depth = 1_000, oldest_due = "5m", failure_rate = 0.25, window = "10m"),
            on_alert = hooks::page,
            cron(sweep, "0 */5 * * * *"),
            cron(tasks::audit, "@daily", timezone = "America/New_York"),
        )),
    );
}

#[test]
fn queues_have_an_order() {
    snapshot("worker_strict", expanded(quote!(queues("first", "second"), order = "strict")));
    snapshot("worker_weighted", expanded(quote!(queues("first", "second"), order = "weighted")));
}

#[test]
fn errors_keep_the_settings() {
    snapshot("worker_unusable", expanded(quote!(max_jobs = 0, lease = 5)));
}

#[test]
fn two_attributes_are_one() {
    let item = quote! {
        #[worker(queue = "homer")]
        #[worker(max_jobs = 3)]
        struct Homer { donuts: u8 }
    };
    snapshot("worker_two_attributes", expand(item, &quote!(::sector7g_tasks)));
}

#[test]
fn names_are_in_kebab_case() {
    let check = |ident, expected| assert_eq!(kebab_case(ident), expected);
    check("Homer", "homer");
    check("InanimateRod", "inanimate-rod");
    check("HTTPServer", "http-server");
    check("Sector7G", "sector7-g");
    check("ABBA", "abba");
    check("Lenny2", "lenny2");
    check("lenny_and_carl", "lenny-and-carl");
    check("r#Yield", "yield");
    check("ÉmileZola", "émile-zola");
}

fn check(options: TokenStream, expected: &[&str]) {
    assert_eq!(errors(expanded(options)), expected);
}

const KNOWN: &str = "expected one of: `queue`, `queues`, `order`, `name`, `max_jobs`, `job_timeout`, `max_tries`, \
                     `keep_result`, `poll_delay`, `health_check_interval`, `job_completion_wait`, `lease`, \
                     `unknown_task_grace`, `misfire_window`, `max_payload_size`, `max_result_size`, `timezone`, \
                     `on_startup`, `on_shutdown`, `on_job_start`, `on_job_end`, `after_job_end`, `alerts`, `on_alert`, `cron`";
const MISSING: &str = "`queue` is missing: say whose jobs it runs, as in `#[worker(queue = \"homer\")]`";

#[test]
fn a_worker_has_queues() {
    check(quote!(), &[MISSING]);
    check(quote!(queue = "homer", queues("lenny")), &["a worker has `queue` or `queues`, not both"]);
    let written = "`queues` is written `queues(\"high\" = 3, \"low\" = 1)` or `queues(\"high\", \"low\")`";
    check(quote!(queues = "homer"), &[written]);
    check(quote!(queues()), &["`queues` needs one at least"]);
    check(quote!(queues("a", "a")), &["this queue is given twice"]);
    check(quote!(queues("a" = 2, "b")), &["the other queues have weights: give this one its own, `= 1`"]);
    check(quote!(queues("a" = 2, "b" = 0)), &["a weight is a whole number, from 1"]);
    check(quote!(queues("a" = 2, "b" = "1")), &["a weight is a whole number, from 1"]);
    check(quote!(queues("a" = 2, "")), &["a queue needs a name: it is empty"]);
    check(quote!(queues(a, b)), &["expected a queue's name in quotes, or `\"name\" = weight`"]);
    check(quote!(queues("a" "b")), &["expected a queue's name in quotes, or `\"name\" = weight`"]);
}

#[test]
fn alerts_have_thresholds() {
    let written =
        "`alerts` is written `alerts(depth = 1000, oldest_due = \"5m\", failure_rate = 0.25, window = \"10m\")`";
    check(quote!(queue = "a", alerts = 5), &[written]);
    let none = "`alerts` needs a threshold: `depth`, `oldest_due` or `failure_rate`";
    check(quote!(queue = "a", alerts()), &[none]);
    check(
        quote!(queue = "a", alerts(depth = 1, window = 5)),
        &["`window` is that of `failure_rate`, which is not given"],
    );
    let known = "expected one of: `depth`, `oldest_due`, `failure_rate`, `window`";
    check(
        quote!(queue = "a", alerts(depth = 0, failure_rate = 1.5, windo = 5), on_alert = page),
        &[
            "`depth` takes a whole number, from 1: `0` is less",
            "`failure_rate` takes a part of 1, above 0, such as `0.25`: `1.5` is more than 1; 1.5 % is `0.015`",
            &format!("unknown argument `windo`, did you mean `window`? {known}"),
        ],
    );
    check(quote!(queue = "a", alerts(depth = 1), alerts(depth = 1)), &["`alerts` is given twice"]);
    let unheard = "`on_alert` is never called without a threshold, as in `alerts(depth = 1000)`";
    check(quote!(queue = "a", on_alert = page), &[unheard]);
}

#[test]
fn several_queues_have_an_order() {
    let order = "`order` takes `\"strict\"` (the first queue that has work) or `\"weighted\"` (by chance and weight)";
    check(quote!(queues("a", "b"), order = "any"), &[&format!("{order}: `any` is neither")]);
    check(quote!(queues("a", "b"), order = strict), &[order]);
    check(quote!(queue = "a", order = "strict"), &["`order` is that of several queues, `queues(\"high\", \"low\")`"]);
    let weights = "a strict order has no weights: leave them out, or order it `\"weighted\"`";
    check(quote!(queues("a" = 2, "b" = 1), order = "strict"), &[weights]);
}

#[test]
fn options_are_checked() {
    let check = |option: TokenStream, expected: &str| check(quote!(queue = "homer", #option), &[expected]);
    check(quote!(max_job = 3), &format!("unknown argument `max_job`, did you mean `max_jobs`? {KNOWN}"));
    check(quote!(colour = 3), &format!("unknown argument `colour`, {KNOWN}"));
    check(quote!(max_jobs = 1, max_jobs = 2), "`max_jobs` is given twice");
    check(quote!(max_jobs = 0), "`max_jobs` takes a whole number, from 1: `0` is less");
    check(quote!(max_result_size = "1MiB"), "`max_result_size` takes a whole number, from 1");
    check(
        quote!(lease = "10ms"),
        "`lease` takes a time span of at least 0.1 s, as seconds (`10`, `0.5`) or as text (`\"10s\"`, `\"500ms\"`): 10ms is \
         too short",
    );
    check(
        quote!(job_completion_wait = "soon"),
        "`job_completion_wait` takes a time span, as seconds (`300`, `0.5`) or as text (`\"5m\"`, `\"1h30m\"`, `\"500ms\"`): \
         there is no number at `soon`",
    );
    check(quote!(on_startup = "warm_up"), "`on_startup` takes the path of an `async fn(&WorkerContext)`");
    check(quote!(on_job_start = |ctx| async {}), "`on_job_start` takes the path of an `async fn(&Context)`");
    check(quote!(after_job_end = done()), "`after_job_end` takes the path of an `async fn(&Context, &JobEnd)`");
}

#[test]
fn schedules_name_a_task() {
    let check = |option: TokenStream, expected: &str| check(quote!(queue = "homer", #option), &[expected]);
    check(quote!(cron = "@daily"), "`cron` is written `cron(task, \"0 */5 * * * *\")`");
    check(quote!(cron()), "expected the path of a task and a schedule");
    check(quote!(cron("@daily", sweep)), "expected the path of a task and a schedule");
    check(quote!(cron(sweep)), "expected `,` and the schedule, `cron(task, \"0 */5 * * * *\")`");
    check(quote!(cron(sweep,)), "expected the schedule, `\"0 */5 * * * *\"`");
    check(quote!(cron(sweep, "@daily", zone = "UTC")), "unknown argument `zone`, expected one of: `timezone`");
    let takes = "`cron` takes a schedule in quotes, of 5 fields (minute, hour, day, month, weekday: `\"*/5 * * * *\"`), of 6 \
                 with seconds before them (`\"0 */5 * * * *\"`), or `\"@daily\"` and the like";
    check(quote!(cron(sweep, DAILY)), takes);
    check(quote!(cron(sweep, "* *")), &format!("{takes}: it has 2 fields"));
}

#[test]
fn a_worker_is_a_struct() {
    let check =
        |item: TokenStream, expected: &[&str]| assert_eq!(errors(expand(item, &quote!(::sector7g_tasks))), expected);
    check(quote! { enum Homer {} }, &["a worker is a struct, `struct Homer;`"]);
    check(quote! { union Homer { a: u8 } }, &["a worker is a struct, `struct Homer;`"]);
    check(quote! { struct Homer<T>(T); }, &["a worker is one type with one name: leave the parameters out"]);
    check(quote! { struct Homer; }, &[MISSING]);
    check(quote! { #[worker] struct Homer; }, &["`#[worker]` is written `#[worker(queue = \"homer\")]`"]);
    check(quote! { #[worker = "homer"] struct Homer; }, &["`#[worker]` is written `#[worker(queue = \"homer\")]`"]);
}

#[test]
fn all_errors_come_at_once() {
    let options = quote!(max_jobs = 0, job_timout = 5, poll_delay = "fast", order = "any", cron(eat), on_startup = 1);
    assert_eq!(errors(expanded(options)).len(), 7);
}
