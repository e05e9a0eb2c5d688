//! What `#[task]` emits beside the function: its type, and all that the inventory must know of it.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Meta};

use super::args::Param;
use super::options::Slots;
use super::{Mode, Task, run, types};
use crate::attr::option;
use crate::duration;

/// The type that has the function's name, and a block that no name leaves.
pub(super) fn job_side(task: &Task, root: &TokenStream) -> TokenStream {
    let job_type = job_type(task);
    let attrs = attributes(task);
    let job_kind = job_kind(task);
    let definition = (task.mode != Mode::Elsewhere).then(|| definition(task));
    quote! {
        #job_type
        #attrs
        const _: () = {
            use #root::__private as __s7g;
            #job_kind
            #definition
        };
    }
}

/// Those attributes of the function that count for its job side: when it is there, and what it may do.
fn attributes(task: &Task) -> TokenStream {
    let copied = task.attrs.iter().filter_map(|attr| match &attr.meta {
        _ if attr.path().is_ident("cfg") || attr.path().is_ident("allow") => Some(quote!(#attr)),
        // What is expected of the function is not expected here.
        Meta::List(list) if list.path.is_ident("expect") => {
            let lints = &list.tokens;
            Some(quote!(#[allow(#lints)]))
        }
        _ if attr.path().is_ident("deprecated") => {
            Some(quote!(#[allow(deprecated, reason = "it is its function that is deprecated")]))
        }
        _ => None,
    });
    copied.collect()
}

fn job_type(task: &Task) -> TokenStream {
    let Task { vis, ident, name, .. } = task;
    let (attrs, doc) = if task.mode == Mode::Elsewhere {
        let attrs = &task.attrs;
        let paragraph = attrs.iter().any(|attr| attr.path().is_ident("doc")).then(|| quote!(#[doc = ""]));
        let doc = format!(" The task `{name}`, which another program runs; `{ident}::job` makes a job of it.");
        (quote!(#(#attrs)* #paragraph), doc)
    } else {
        let attrs = attributes(task);
        let shown = task.attrs.iter().filter(|attr| match &attr.meta {
            Meta::List(list) if list.path.is_ident("doc") => true,
            meta => meta.path().is_ident("deprecated"),
        });
        let doc = format!(" The job side of the task [`{ident}`](fn@{ident}): `{ident}::job` makes a job of it.");
        (quote!(#attrs #(#shown)*), doc)
    };
    let ident = type_ident(ident);
    quote! {
        #attrs
        #[doc = #doc]
        #vis enum #ident {}
    }
}

/// The function's name, as one that this macro made: lints on the names of types let such ones be.
fn type_ident(function: &Ident) -> Ident {
    let mut ident = function.clone();
    ident.set_span(function.span().resolved_at(Span::call_site()));
    ident
}

fn job_kind(task: &Task) -> TokenStream {
    let Task { vis, ident, output, .. } = task;
    let Job { params, args, body } = if task.sound { job(task) } else { any_job(task) };
    let doc = format!(" A job of `{ident}` with these arguments, to be enqueued.");
    let reason = "the function has as many";
    let many = (task.travelling().count() > 7).then(|| quote!(#[allow(clippy::too_many_arguments, reason = #reason)]));
    let reason = "the function names it so";
    let unused = task.travelling().any(|param| param.ident.to_string().starts_with('_'));
    let unused = unused.then(|| quote!(#[allow(clippy::used_underscore_binding, reason = #reason)]));
    let output = &output.ty;
    quote! {
        impl #ident {
            #[doc = #doc]
            #many
            #unused
            #vis fn job(#params) -> __s7g::Job<Self> {
                #body
            }
        }
        impl __s7g::JobKind for #ident {
            type Args = #args;
            type Output = #output;
        }
    }
}

/// The parts of the function `job`.
struct Job {
    params: TokenStream,
    /// The type that is made of them.
    args: TokenStream,
    body: TokenStream,
}

fn job(task: &Task) -> Job {
    let names: Vec<&Ident> = task.travelling().map(|argument| &argument.ident).collect();
    let types = task.travelling().map(|argument| &argument.ty);
    let body = if task.mode == Mode::Elsewhere {
        let (name, queue) = (&task.name, task.options.queue());
        let partitions = task.options.slots.partitions.iter().map(|given| given.value.0).map(Literal::u16_unsuffixed);
        quote!(__s7g::Job::named(#name, #queue, (#(#names,)*)) #(.partitions(#partitions))*)
    } else {
        quote!(__s7g::Job::of(&__S7G_TASK, (#(#names,)*)))
    };
    Job { params: quote!(#(#names: #types),*), args: types::tuple(task), body }
}

/// Where the signature has an error: it takes as many arguments, whatever they are.
fn any_job(task: &Task) -> Job {
    let given = task.params.iter().filter(|param| matches!(param, Param::Travels(_) | Param::Broken));
    let params = given.map(|_| quote!(_: impl ::core::marker::Sized));
    Job { params: quote!(#(#params),*), args: quote!(()), body: quote!(::core::unreachable!()) }
}

/// What the inventory holds of a task.
fn definition(task: &Task) -> TokenStream {
    let Task { ident, name, .. } = task;
    let run::Run { statics, functions } = if task.sound { run::functions(task) } else { run::nothing() };
    let (queue, output) = (task.options.queue(), &task.output.ty);
    let states = states(task);
    let setters = setters(task);
    // The line is that of the function, not that of the attribute.
    let source = quote_spanned! {ident.span()=>
        __s7g::Source { file: ::core::file!(), line: ::core::line!(), module: ::core::module_path!() }
    };
    quote! {
        #statics
        #states
        static __S7G_TASK: __s7g::TaskDef = __s7g::TaskDef::new(
            #name, #queue, #source, #functions, ::core::any::type_name::<#output>,
        ) #setters;
        impl __s7g::Task for #ident {
            const DEF: &'static __s7g::TaskDef = &__S7G_TASK;
        }
        __s7g::inventory::submit! { __s7g::Linked::Task(&__S7G_TASK) }
    }
}

/// The list of states that the task wants.
fn states(task: &Task) -> TokenStream {
    let wanted = task.states().map(|ty| quote_spanned!(ty.span()=> __s7g::StateRef::of::<#ty>()));
    match task.states().count() {
        0 => TokenStream::new(),
        count => quote!(static __S7G_STATES: [__s7g::StateRef; #count] = [#(#wanted),*];),
    }
}

/// Lists and options, each as a call on the definition.
fn setters(task: &Task) -> TokenStream {
    let Slots { partitions, timeout, max_tries, backoff, keep_result, cron, timezone, dead_letter, .. } =
        &task.options.slots;
    let params = (task.sound && task.travelling().next().is_some()).then(|| quote!(.params(&__S7G_PARAMS)));
    let states = task.states().next().map(|_| quote!(.states(&__S7G_STATES)));
    let blocking = (task.mode == Mode::Blocking).then(|| quote!(.blocking()));
    let partitions = partitions.iter().map(|given| given.value.0).map(Literal::u16_unsuffixed);
    let timeout = timeout.iter().map(|given| duration::tokens(given.value.0));
    let max_tries = max_tries.iter().map(|given| given.value.0).map(Literal::u32_unsuffixed);
    let backoff = backoff.iter().map(|given| given.value.tokens());
    let keep = keep_result.iter().map(|given| given.value.tokens());
    let zone = option(timezone.as_ref().map(|given| &given.value.0));
    let cron = cron.iter().map(|given| &given.value.0);
    let dead_letter = dead_letter.iter().map(|given| given.value.0);
    quote! {
        #(.partitions(#partitions))* #params #states #blocking #(.timeout(#timeout))* #(.max_tries(#max_tries))* #(.backoff(#backoff))*
        #(.keep_result(#keep))* #(.dead_letter(#dead_letter))* #(.cron(#cron, #zone))*
    }
}
