//! What `#[derive(Worker)]` emits: the settings, and their place in the inventory.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Path;
use syn::spanned::Spanned;

use super::Worker;
use super::options::{CronJob, Options, Slots, Thresholds};
use crate::attr::{Given, option};
use crate::duration;
use crate::value::Count;

pub(super) fn settings(worker: &Worker, root: &TokenStream) -> TokenStream {
    let Worker { ident, name, is_unit, options } = worker;
    // A worker type is never made; to the compiler that would be dead code.
    let made = is_unit.then(|| quote!(const _: #ident = #ident;));
    let lists = lists(options);
    let setters = [plain(options), spans(&options.slots), hooks(&options.slots)];
    let alerts = alerts(&options.slots);
    let source = quote_spanned! {ident.span()=>
        __s7g::Source { file: ::core::file!(), line: ::core::line!(), module: ::core::module_path!() }
    };
    quote! {
        const _: () = {
            use #root::__private as __s7g;
            #made
            #lists
            static __S7G_WORKER: __s7g::WorkerSettings =
                __s7g::WorkerSettings::new(#name, &__S7G_QUEUES).source(#source) #(#setters)* #alerts;
            impl __s7g::Worker for #ident {
                const SETTINGS: &'static __s7g::WorkerSettings = &__S7G_WORKER;
            }
            __s7g::inventory::submit! { __s7g::Linked::Worker(&__S7G_WORKER) }
        };
    }
}

/// The queues, and the schedules if there are any.
fn lists(options: &Options) -> TokenStream {
    let shares = options.shares();
    let count = shares.len();
    let shares = shares.iter().map(|(name, weight)| {
        let weight = Literal::u32_unsuffixed(*weight);
        quote!(__s7g::QueueShare::new(#name, #weight))
    });
    let jobs = options.cron.len();
    let entries = options.cron.iter().map(entry);
    let cron = (jobs > 0).then(|| {
        quote! {
            #[allow(unused_qualifications, reason = "the trait's name is the macro's, whatever is in scope")]
            static __S7G_CRON: [__s7g::CronEntry; #jobs] = [#(#entries),*];
        }
    });
    quote!(static __S7G_QUEUES: [__s7g::QueueShare; #count] = [#(#shares),*]; #cron)
}

fn entry(job: &CronJob) -> TokenStream {
    let CronJob { task, rule, zone } = job;
    let task = quote_spanned!(task.span()=> <#task as __s7g::Task>::DEF);
    let zone = option(zone.as_ref());
    quote!(__s7g::CronEntry::new(#task, #rule, #zone))
}

/// Numbers and words.
fn plain(options: &Options) -> TokenStream {
    let Slots { max_jobs, max_tries, max_payload_size, max_result_size, keep_result, timezone, .. } = &options.slots;
    let number = |given: &Given<Count>| Literal::u32_unsuffixed(given.value.0);
    let max_jobs = max_jobs.iter().map(number);
    let max_tries = max_tries.iter().map(number);
    let max_payload_size = max_payload_size.iter().map(number);
    let max_result_size = max_result_size.iter().map(number);
    let keep = keep_result.iter().map(|given| given.value.tokens());
    let zone = timezone.iter().map(|given| &given.value.0);
    let order = options.weighted().then(|| quote!(.order(__s7g::Order::Weighted)));
    let cron = (!options.cron.is_empty()).then(|| quote!(.cron(&__S7G_CRON)));
    quote! {
        #order #(.max_jobs(#max_jobs))* #(.max_tries(#max_tries))*
        #(.max_payload_size(#max_payload_size))* #(.max_result_size(#max_result_size))*
        #(.keep_result(#keep))* #(.timezone(#zone))* #cron
    }
}

/// Time spans.
fn spans(slots: &Slots) -> TokenStream {
    let spans = [
        ("job_timeout", slots.job_timeout.as_ref().map(|given| given.value.0)),
        ("poll_delay", slots.poll_delay.as_ref().map(|given| given.value.0)),
        ("health_check_interval", slots.health_check_interval.as_ref().map(|given| given.value.0)),
        ("job_completion_wait", slots.job_completion_wait.as_ref().map(|given| given.value.0)),
        ("lease", slots.lease.as_ref().map(|given| given.value.0)),
        ("unknown_task_grace", slots.unknown_task_grace.as_ref().map(|given| given.value.0)),
        ("misfire_window", slots.misfire_window.as_ref().map(|given| given.value.0)),
    ];
    let setters = spans.iter().filter_map(|(name, span)| {
        let (name, span) = (format_ident!("{name}"), span.map(duration::tokens)?);
        Some(quote!(.#name(#span)))
    });
    setters.collect()
}

/// Hooks, as functions that box the call.
fn hooks(slots: &Slots) -> TokenStream {
    let hooks = [
        ("on_startup", slots.on_startup.as_ref().map(|given| &given.value.0), false),
        ("on_shutdown", slots.on_shutdown.as_ref().map(|given| &given.value.0), false),
        ("on_job_start", slots.on_job_start.as_ref().map(|given| &given.value.0), false),
        ("on_job_end", slots.on_job_end.as_ref().map(|given| &given.value.0), true),
        ("after_job_end", slots.after_job_end.as_ref().map(|given| &given.value.0), true),
        ("on_alert", slots.on_alert.as_ref().map(|given| &given.value.0), true),
    ];
    hooks.iter().filter_map(|(name, path, with_end)| (*path).map(|path| hook(name, path, *with_end))).collect()
}

/// Thresholds.
fn alerts(slots: &Slots) -> Option<TokenStream> {
    let Thresholds { depth, oldest_due, failure_rate, window } = &slots.alerts.as_ref()?.value.0;
    let depth = depth.iter().map(|given| Literal::u32_unsuffixed(given.value.0));
    let oldest_due = oldest_due.iter().map(|given| duration::tokens(given.value.0));
    let failure_rate = failure_rate.iter().map(|given| Literal::f64_unsuffixed(given.value.0));
    let window = window.iter().map(|given| duration::tokens(given.value.0));
    Some(quote! {
        .alerts(__s7g::Alerts::new() #(.depth(#depth))* #(.oldest_due(#oldest_due))*
            #(.failure_rate(#failure_rate))* #(.window(#window))*)
    })
}

fn hook(name: &str, path: &Path, with_end: bool) -> TokenStream {
    let name = format_ident!("{name}");
    // Errors of the call are told at the path.
    let place = Span::call_site().located_at(path.span());
    let (params, given) = if with_end {
        (quote!(__s7g_ctx, __s7g_end), quote_spanned!(place=> &__s7g_ctx, &__s7g_end))
    } else {
        (quote!(__s7g_ctx), quote_spanned!(place=> &__s7g_ctx))
    };
    let call = quote_spanned!(path.span()=> __s7g::hook(async move { #path(#given).await }));
    quote!(.#name(|#params| #call))
}
