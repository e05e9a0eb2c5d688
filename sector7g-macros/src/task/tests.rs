//! Expansions as snapshots, errors as text.

use proc_macro2::TokenStream;
use quote::quote;

use super::args::written;
use super::expand;
use crate::testing::{errors, snapshot};

fn expanded(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(options, item, &quote!(::sector7g_tasks))
}

#[test]
fn the_least() {
    snapshot("task_least", expanded(quote!(queue = "homer"), quote! { async fn eat() {} }));
    snapshot("task_partitions", expanded(quote!(queue = "homer", partitions = 4), quote! { async fn eat() {} }));
}

#[test]
fn context_state_arguments_and_options() {
    let options = quote!(queue = "lenny", timeout = 300, max_tries = 5, backoff = "exponential(1s, max = 5m)");
    let item = quote! {
        /// Inspects one reactor.
        #[tracing::instrument(skip_all)]
        async fn inspect_reactor(
            ctx: &Context,
            State(db): State<Db>,
            reactor: u8,
            depth: Option<Depth>,
        ) -> Result<Inspection, InspectError> {
            db.inspect(ctx, reactor, depth).await
        }
    };
    snapshot("task_full", expanded(options, item));
}

#[test]
fn a_plain_function_runs_on_the_blocking_pool() {
    let item = quote! {
        pub fn count_donuts(mut boxes: Vec<u32>, ctx: &Context, sector7g_tasks::State(db): sector7g_tasks::State<Db>) -> u64 {
            boxes.len() as u64
        }
    };
    snapshot("task_blocking", expanded(quote!(queue = "homer"), item));
}

#[test]
fn or_right_where_it_is_called() {
    let item = quote! {
        pub(crate) fn burp(ctx: Context) -> Result<(), TaskError> {
            Ok(())
        }
    };
    snapshot("task_direct", expanded(quote!(queue = "homer", blocking = false), item));
}

#[test]
fn a_task_without_a_body_is_elsewhere() {
    let item = quote! {
        /// Prints an order.
        #[cfg(feature = "reports")]
        pub async fn make_pdf(order: u64, paper: Option<String>) -> Result<Pdf, PdfError>;
    };
    snapshot("task_elsewhere", expanded(quote!(queue = "reports", name = "reports.make_pdf"), item));
    snapshot("task_elsewhere_least", expanded(quote!(queue = "reports"), quote! { fn clean_reports(); }));
    let parts = quote!(queue = "reports", partitions = 4);
    snapshot("task_elsewhere_partitions", expanded(parts, quote! { fn clean_reports(); }));
}

#[test]
fn defaults_and_redaction() {
    let item = quote! {
        async fn report(
            #[arg(default = 3)] pages: u8,
            #[arg(default)] notes: Vec<String>,
            #[arg(redact)]
            #[allow(unused)]
            token: Token,
            #[arg(default = "A4".to_owned(), redact)] mut paper: String,
        ) {
        }
    };
    snapshot("task_defaults", expanded(quote!(queue = "carl"), item));
}

#[test]
fn every_option() {
    let options = quote!(
        queue = "inanimate_rod",
        name = "system.health",
        timeout = "1h30m",
        max_tries = 1,
        backoff = "linear(500ms, max = 2m, jitter = 0)",
        keep_result = "forever",
        cron = "0 */5 * * * *",
        timezone = "Europe/Berlin",
        dead_letter = false,
        blocking = true,
    );
    snapshot("task_options", expanded(options, quote! { fn system_health_check() -> Health { Health::now() } }));
}

#[test]
fn schedules_may_lack_a_zone_and_results_may_not_be_kept() {
    let options = quote!(queue = "inanimate_rod", cron = "@daily", keep_result = false);
    snapshot("task_cron", expanded(options, quote! { async fn sweep(days: Option<u8>) -> Swept { Swept::of(days) } }));
}

#[test]
fn some_attributes_count_for_the_job_side() {
    let item = quote! {
        #[cfg(unix)]
        #[deprecated = "use `inspect`"]
        #[allow(dead_code)]
        #[expect(clippy::unused_async, reason = "a task is async")]
        #[doc(hidden)]
        #[inline]
        async fn look() {}
    };
    snapshot("task_attributes", expanded(quote!(queue = "lenny"), item));
}

#[test]
fn keywords_and_many_arguments() {
    let item = quote! {
        async fn r#match(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, r#type: String) {}
    };
    snapshot("task_keywords", expanded(quote!(queue = "lenny"), item));
}

#[test]
fn an_unusable_signature_keeps_further_errors_away() {
    let item = quote! {
        async fn eat<T>(ctx: &Context, donuts: &str, State(db): State<Db>, count: T) -> T {
            count
        }
    };
    snapshot("task_unusable", expanded(quote!(queue = "homer", timeout = "soon"), item));
}

#[test]
fn a_method_has_no_job_side() {
    snapshot("task_method", expanded(quote!(queue = "homer"), quote! { async fn eat(&self) {} }));
}

#[test]
fn a_renamed_library_is_named_so() {
    let expansion = expand(quote!(queue = "homer"), quote! { async fn eat() {} }, &quote!(::tasks)).to_string();
    assert!(
        expansion.contains("use :: tasks :: __private as __s7g ;") && !expansion.contains("sector7g"),
        "{expansion}"
    );
}

#[test]
fn types_are_written_as_by_people() {
    let check = |ty: TokenStream, expected: &str| assert_eq!(written(ty), expected);
    check(quote!(Option<Vec<(u8, [u16; 4])>>), "Option<Vec<(u8, [u16; 4])>>");
    check(quote!(::std::collections::HashMap<String, <A as B>::C>), "::std::collections::HashMap<String, <A as B>::C>");
    check(quote!(Box<dyn Shape + Send>), "Box<dyn Shape + Send>");
}

/// `item` comes back as it is, be it right or wrong.
fn comes_back(options: TokenStream, item: TokenStream) {
    let expected = item.to_string();
    let expansion = expanded(options, item).to_string();
    assert!(expansion.starts_with(&expected), "{expansion}\ndoes not start with\n{expected}");
}

#[test]
fn the_function_comes_back_token_for_token() {
    comes_back(
        quote!(queue = "homer"),
        quote! { #[a] #[doc = "b"] pub(in x::y) async fn eat(mut a: u8,) -> (u8,) { (a,) } },
    );
    comes_back(quote!(queue = "homer"), quote! { async fn half_typed() { let x = ; donuts. } });
    comes_back(quote!(queue = "homer"), quote! { async fn nothing_but_rubbish() { fn fn ! } });
    comes_back(quote!(), quote! { async fn eat(donuts: &str) -> impl Sized {} });
    comes_back(quote!(que), quote! { pub const unsafe extern "C" fn eat<T>(donuts: T) where T: Copy { loop } });
    comes_back(quote!(queue = "homer"), quote! { async fn half_typed(donuts: ) {} });
    comes_back(quote!(queue = "homer"), quote! { async fn half_typed(donuts: u8, kind) {} });
    comes_back(quote!(queue = "homer"), quote! { struct Homer { donuts: u8, } });
    comes_back(quote!(queue = "homer"), quote! { const EAT: fn() = || {}; });
    comes_back(quote!(queue = "homer"), quote! { async fn eat(&self) {} });
}

#[test]
fn but_without_the_attributes_of_its_arguments() {
    let item =
        quote! { async fn eat(#[arg(default)] a: u8, #[arg = 1] #[x] b: &str, #[arg] #[arg(redact)] c: fn(u8)) { } };
    let expansion = expanded(quote!(), item).to_string();
    let expected = quote! { async fn eat(a: u8, #[x] b: &str, c: fn(u8)) {} }.to_string();
    assert!(expansion.starts_with(&expected), "{expansion}");
}

/// The errors of `options` on an innocent function.
fn check_options(options: TokenStream, expected: &[&str]) {
    assert_eq!(errors(expanded(options, quote! { async fn eat() {} })), expected);
}

/// The errors of an innocent attribute on `item`.
fn check_item(item: TokenStream, expected: &[&str]) {
    assert_eq!(errors(expanded(quote!(queue = "homer"), item)), expected);
}

const SPAN: &str =
    "`timeout` takes a time span above zero, as seconds (`300`, `0.5`) or as text (`\"5m\"`, `\"1h30m\"`, `\"500ms\"`)";
const QUEUE: &str = "`queue` takes a name in quotes, of 1 to 512 bytes and without control characters";
const KNOWN: &str = "expected one of: `queue`, `partitions`, `name`, `timeout`, `max_tries`, `backoff`, `keep_result`, `cron`, `timezone`, \
                     `dead_letter`, `blocking`";

#[test]
fn options_are_read_one_by_one() {
    let queue = "`queue` is missing: say where its jobs go, as in `#[task(queue = \"lenny\")]`";
    check_options(quote!(), &[queue]);
    check_options(quote!("homer"), &["expected an option, `key = value`", queue]);
    check_options(quote!(queue = "homer",, timeout = 5), &["expected an option, `key = value`"]);
    check_options(quote!(queue = "homer" timeout = 0), &["expected `,` before the next option"]);
    check_options(quote!(queu = "homer"), &[&format!("unknown argument `queu`, did you mean `queue`? {KNOWN}")]);
    check_options(quote!(queue = "homer", colour = "pink"), &[&format!("unknown argument `colour`, {KNOWN}")]);
    check_options(quote!(queue = "homer", r#type(x) = 1), &[&format!("unknown argument `type`, {KNOWN}")]);
    check_options(quote!(queue = "homer", queue = "carl"), &["`queue` is given twice"]);
    check_options(quote!(queue = ""), &[&format!("{QUEUE}: it is empty")]);
    check_options(quote!(queue = homer), &[QUEUE]);
    check_options(
        quote!(queue),
        &["`queue` needs a value, `queue = ..`: a name in quotes, of 1 to 512 bytes and without \
                                    control characters"],
    );
}

#[test]
fn values_are_checked() {
    let check = |options: TokenStream, expected: &str| check_options(quote!(queue = "homer", #options), &[expected]);
    check(quote!(timeout = true), SPAN);
    check(quote!(timeout = ), &SPAN.replace("takes", "needs a value, `timeout = ..`:"));
    check(quote!(timeout(5)), &SPAN.replace("takes", "needs a value, `timeout = ..`:"));
    check(quote!(timeout = 0), &format!("{SPAN}: zero is too short"));
    check(quote!(timeout = -0.5), &format!("{SPAN}: it can't be negative"));
    check(quote!(timeout = ?), SPAN);
    check(quote!(max_tries = 0), "`max_tries` takes a whole number, from 1: `0` is less");
    check(quote!(max_tries = 1.5), "`max_tries` takes a whole number, from 1");
    check(quote!(dead_letter = "no"), "`dead_letter` takes `true` or `false`");
    check(
        quote!(backoff = "fixed(5)"),
        "`backoff` takes a policy in quotes, such as `\"fixed(10s)\"`, `\"linear(10s, max = 2m)\"` or `\"exponential(1s, \
         max = 5m, factor = 3, jitter = 0.5)\"`: `5` has no unit (`d`, `h`, `m`, `s` or `ms`)",
    );
    check(
        quote!(keep_result = true),
        "`keep_result` takes a time span, as seconds (`3600`) or as text (`\"1h\"`), or `false` for no result, or \
         `\"forever\"`: `true` does not say for how long",
    );
    check(
        quote!(cron = "* *"),
        "`cron` takes a schedule in quotes, of 5 fields (minute, hour, day, month, weekday: `\"*/5 * * * *\"`), of 6 with \
         seconds before them (`\"0 */5 * * * *\"`), or `\"@daily\"` and the like: it has 2 fields",
    );
    check(
        quote!(cron = "@daily", timezone = ""),
        "`timezone` takes the name of a time zone in quotes, such as `\"Europe/Berlin\"` or `\"UTC\"`: it is empty",
    );
}

#[test]
fn options_must_go_together() {
    let zone = "`timezone` is that of a schedule: it needs `cron = \"..\"` beside it";
    check_options(quote!(queue = "homer", timezone = "UTC"), &[zone]);
    let pool = "the blocking pool is for functions that are not async: leave out `blocking`, or `async`";
    check_options(quote!(queue = "homer", blocking), &[pool]);
    check_options(quote!(queue = "homer", blocking = true), &[pool]);
    check_options(quote!(queue = "homer", blocking = false), &[]);
    let braces = "a queue with partitions has no braces in its name: theirs are made of it";
    check_options(quote!(queue = "{homer}", partitions = 2), &[braces]);
    check_options(quote!(queue = "{homer}", partitions = 1), &[]);
    check_options(quote!(queue = "homer", partitions = 64), &[]);
    let parts = "`partitions` takes a whole number, from 1 to 64";
    check_options(quote!(queue = "homer", partitions = 65), &[&format!("{parts}: `65` is more")]);
    check_options(quote!(queue = "homer", partitions = 0), &[&format!("{parts}: `0` is less")]);
    check_options(quote!(queue = "homer", partitions = "2"), &[parts]);
}

#[test]
fn a_schedule_gives_no_arguments() {
    let item = quote! { async fn eat(a: u8, b: Option<u8>, #[arg(default)] c: u8, d: std::vec::Vec<u8>) {} };
    let take = |ty| format!("a schedule gives no arguments: take `Option<{ty}>`, or add `#[arg(default = ..)]`");
    let expected = [take("u8"), take("std::vec::Vec<u8>")];
    assert_eq!(errors(expanded(quote!(queue = "homer", cron = "@daily"), item)), expected);
}

#[test]
fn elsewhere_decides_the_rest() {
    let options =
        quote!(queue = "reports", name = "pdf", timeout = 5, cron = "@daily", blocking, timezone = "", tries = 1);
    let item = quote! { async fn make_pdf(ctx: &Context, State(db): State<Db>, #[allow(x)] #[arg(redact)] order: u64) -> Pdf; };
    let set = |key| {
        format!("`{key}` is set where the task has its body; here it takes only `queue`, `partitions` and `name`")
    };
    let expected = [
        "`timezone` takes the name of a time zone in quotes, such as `\"Europe/Berlin\"` or `\"UTC\"`: it is empty"
            .to_owned(),
        format!("unknown argument `tries`, {KNOWN}"),
        set("timeout"),
        set("cron"),
        set("blocking"),
        set("timezone"),
        "a context is given where the task has its body: leave it out here".to_owned(),
        "a state is given where the task has its body: leave it out here".to_owned(),
        "this counts where the task has its body: leave it out here".to_owned(),
    ];
    assert_eq!(errors(expanded(options, item)), expected);
}

#[test]
fn a_task_is_a_plain_function() {
    check_item(quote! { struct Homer; }, &["`#[task]` goes on a function, `async fn name(..) { .. }`"]);
    check_item(quote! { const EAT: fn() = || {}; }, &["`#[task]` goes on a function, `async fn name(..) { .. }`"]);
    check_item(
        quote! { async fn eat(&self) {} },
        &["a task is a free function, without `self`: give it what it needs as `State(..): State<T>`"],
    );
    check_item(
        quote! { const unsafe extern "C" fn eat<T>(n: u8, ...) where T: Copy, { } },
        &[
            "a task is called when the program runs: leave out `const`",
            "a worker can't promise what an `unsafe fn` asks of its caller: put it into a safe one",
            "a task is called from Rust: leave out the ABI",
            "a job's arguments are fixed in number: take a `Vec`",
            "all jobs of a task call one function: leave this out and name the types",
        ],
    );
    check_item(quote! { fn eat() where u8: Copy, { } }, &["a task is not generic: leave out the bounds"]);
}

#[test]
fn arguments_travel() {
    let check = |params: TokenStream, expected: &[&str]| check_item(quote! { async fn eat(#params) {} }, expected);
    let take = |what: &str| format!("a job's arguments travel as data: {what}");
    check(quote!(a: &str), &[&take("take `String`")]);
    check(quote!(a: &'static str), &[&take("take `String`")]);
    check(quote!(a: &mut Vec<Option<u8>>), &[&take("take `Vec<Option<u8>>`")]);
    check(
        quote!(a: &[u8], b: &std::path::Path, c: &OsStr),
        &[&take("take `Vec<u8>`"), &take("take `PathBuf`"), &take("take `OsString`")],
    );
    check(quote!(a: Vec<(u8, [&str; 2])>), &[&take("take `String`")]);
    check(quote!(a: Cow<'a, str>), &[&take("take a type without a lifetime, or with `'static`")]);
    check(quote!(a: Cow<'static, str>), &[]);
    check(quote!(a: impl Into<String>), &[&take("name a type that has this trait")]);
    check(quote!(a: _), &[&take("name the type")]);
    check(quote!(a: !), &[&take("`!` has no values")]);
    check(quote!(_: u8), &["a job's arguments are stored by name: call it `_name`"]);
    let pattern = "a job's arguments are stored by name: write `name: Type` and take it apart in the body";
    check(quote!((a, b): (u8, u8), ref c: u8, d @ _: u8), &[pattern, pattern, pattern]);
    check(
        quote! { #[cfg(unix)] a: u8 },
        &["all programs of a queue must agree on a task's parameters: put the `cfg` on the task"],
    );
    let many = (0..13).map(|index| quote::format_ident!("a{index}"));
    check(quote!(#(#many: u8),*), &["a job has at most 12 arguments: put some of them into a struct"]);
}

#[test]
fn contexts_and_states_do_not_travel() {
    let check = |params: TokenStream, expected: &[&str]| check_item(quote! { async fn eat(#params) {} }, expected);
    check(quote!(ctx: &Context, a: u8, b: a::Context), &["the context is given once: leave this parameter out"]);
    check(quote!(ctx: &mut Context), &["the context is shared: take `&Context`"]);
    let worker = "a task is given `&Context`; `&WorkerContext` is for a worker's `on_startup` and `on_shutdown`";
    check(quote!(ctx: &WorkerContext, again: WorkerContext), &[worker, worker]);
    check(quote!(State(db): &State<Db>), &["take `State<Db>` itself, not a reference"]);
    let arg = "`#[arg(..)]` is for arguments that travel; this one is given where the task runs";
    check(quote! { #[arg(redact)] ctx: &Context, #[arg(default)] db: State<Db> }, &[arg, arg]);
    // These are types of other libraries, or one's own, that happen to have these names.
    check(quote!(context: Context<u8>, state: State, pair: State<A, B>), &[]);
}

#[test]
fn arg_has_two_options() {
    let check = |attr: TokenStream, expected: &[&str]| check_item(quote! { async fn eat(#attr a: u8) {} }, expected);
    let written = "`#[arg]` is written `#[arg(default)]`, `#[arg(default = ..)]` or `#[arg(redact)]`";
    check(quote!(#[arg]), &[written]);
    check(quote!(#[arg()]), &[written]);
    check(quote!(#[arg = 1]), &[written]);
    check(
        quote!(#[arg(defualt = 1)]),
        &["unknown argument `defualt`, did you mean `default`? expected one of: `default`, `redact`"],
    );
    check(quote!(#[arg(redact)] #[arg(default, redact)]), &["`redact` is given twice"]);
    check(quote!(#[arg(redact = 1)]), &["`redact` takes `true` or `false`"]);
}

#[test]
fn results_travel_too() {
    let check = |output: TokenStream, expected: &[&str]| check_item(quote! { async fn eat() -> #output {} }, expected);
    check(quote!(&'static str), &["a job's result travels as data: return `String`"]);
    check(quote!(Result<&[u8], E>), &["a job's result travels as data: return `Vec<u8>`"]);
    check(quote!(impl Sized), &["a job's result travels as data: name a type that has this trait"]);
    check(quote!(!), &["a job's result travels as data: `!` has no values"]);
    // The error does not travel as it is.
    check(quote!(Result<u8, &'static str>), &[]);
    check(quote!(std::fmt::Result), &[]);
}

#[test]
fn all_errors_come_at_once() {
    let options = quote!(queue = 7, timeout = "soon", retry = true, cron = "");
    let item = quote! { async fn eat(donuts: &str, (a, b): (u8, u8), #[arg(hidden)] c: u32) -> impl Sized {} };
    assert_eq!(errors(expanded(options, item)).len(), 8);
}
