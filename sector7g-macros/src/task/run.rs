//! How a task's jobs are run: their arguments are bound, then the function is called.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Ident, Type};

use super::args::{MissingValue, Param, Travels, written};
use super::{Mode, Task, types};

/// The tokens of the definition that are about arguments.
pub(super) struct Run {
    /// The lists that the functions name.
    pub(super) statics: TokenStream,
    /// Binds and calls; checks.
    pub(super) functions: TokenStream,
}

/// Where the signature has an error: functions that are never called.
pub(super) fn nothing() -> Run {
    Run { statics: TokenStream::new(), functions: quote!(|_| ::core::unreachable!(), |_| ::core::unreachable!()) }
}

pub(super) fn functions(task: &Task) -> Run {
    let (args, place) = (types::tuple(task), types::place(task));
    let (params, defaults) = (params(task), defaults(task));
    let (list, values) = match task.travelling().next() {
        Some(_) => (quote!(&__S7G_PARAMS), defaults.value),
        None => (quote!(&[]), quote!(())),
    };
    let locals = (0..task.travelling().count()).map(local);
    let (ctx, arguments) = (quote!(&__s7g_ctx), quote!(__s7g_arguments));
    let bind = quote_spanned!(place=> __s7g::bind::<#args>(#ctx, #list, #values));
    let check = quote_spanned!(place=> __s7g::check::<#args>(#arguments, #list, #values));
    let call = call(task);
    let functions = quote! {
        |__s7g_ctx| {
            let (#(#locals,)*) = #bind?;
            ::core::result::Result::Ok(#call)
        },
        |__s7g_arguments| #check
    };
    let constant = defaults.constant;
    Run { statics: quote!(#params #constant), functions }
}

/// The list of parameters that travel.
fn params(task: &Task) -> TokenStream {
    let count = task.travelling().count();
    let params = task.travelling().map(|Travels { ident, ty, redact, .. }| {
        let (name, ty) = (ident.unraw().to_string(), written(ty));
        let redact = redact.then(|| quote!(.redact()));
        quote!(__s7g::Param::new(#name, #ty) #redact)
    });
    if count == 0 { TokenStream::new() } else { quote!(static __S7G_PARAMS: [__s7g::Param; #count] = [#(#params),*];) }
}

/// What makes the arguments that are missing.
struct Defaults {
    /// A constant, if there are any.
    constant: TokenStream,
    value: TokenStream,
}

fn defaults(task: &Task) -> Defaults {
    if task.travelling().all(|argument| argument.default.is_none()) {
        // A tuple of `None`s.
        return Defaults { constant: TokenStream::new(), value: quote!(::core::default::Default::default()) };
    }
    let types = task.travelling().map(|argument| &argument.ty);
    let values = task.travelling().map(default);
    let constant = quote!(const __S7G_DEFAULTS: (#(::core::option::Option<fn() -> #types>,)*) = (#(#values,)*););
    Defaults { constant, value: quote!(__S7G_DEFAULTS) }
}

fn default(argument: &Travels) -> TokenStream {
    let ty = &argument.ty;
    match &argument.default {
        None => quote!(::core::option::Option::None),
        Some(MissingValue(None)) => {
            let make = quote_spanned!(ty.span()=> <#ty as ::core::default::Default>::default);
            quote!(::core::option::Option::Some(#make))
        }
        Some(MissingValue(Some(value))) => quote!(::core::option::Option::Some((|| #value) as fn() -> #ty)),
    }
}

fn local(index: usize) -> Ident {
    format_ident!("__s7g_{index}")
}

/// The future that calls the function. What does not fit is told at its type in the signature.
fn call(task: &Task) -> TokenStream {
    let blocking = task.mode == Mode::Blocking;
    let ctx = if blocking { quote!(__s7g_ctx) } else { quote!(&__s7g_ctx) };
    let place = task.output.place;
    let mut function = task.ident.clone();
    function.set_span(function.span().located_at(place));
    let given = given(task, &ctx);
    let wait = (task.mode == Mode::Async).then(|| quote_spanned!(place=> .await));
    let returned = quote_spanned!(place=> #function(#(#given),*) #wait);
    let encode = Ident::new(if task.output.fallible { "outcome" } else { "value" }, place);
    let encoded = quote_spanned!(place=> __s7g::#encode(#ctx, #returned));
    if blocking {
        quote!(__s7g::blocking(__s7g_ctx, move |__s7g_ctx| #encoded))
    } else {
        quote_spanned!(task.ident.span()=> ::std::boxed::Box::pin(async move { #encoded }))
    }
}

/// What each parameter is given.
fn given(task: &Task, ctx: &TokenStream) -> Vec<TokenStream> {
    let mut locals = (0..).map(local);
    let given = task.params.iter().map(|param| match param {
        Param::Context { by_value: false, ty } => located(ctx, ty),
        Param::Context { ty, .. } => quote_spanned!(ty.span()=> ::core::clone::Clone::clone(#ctx)),
        Param::State(ty) => quote_spanned!(ty.span()=> __s7g::state::<#ty>(#ctx)?),
        Param::Travels(_) | Param::Broken => locals.next().to_token_stream(),
    });
    given.collect()
}

/// The same tokens, with errors about them told at `ty`.
fn located(tokens: &TokenStream, ty: &Type) -> TokenStream {
    let located = tokens.clone().into_iter().map(|mut token| {
        token.set_span(token.span().located_at(ty.span()));
        token
    });
    located.collect()
}
