//! `#[task(..)]`: reads a function and its options, and emits the job side beside it.

mod args;
mod emit;
mod options;
mod run;
#[cfg(test)]
mod tests;
mod types;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, Ident, Result, ReturnType, Safety, Signature, Token, Type, Visibility, parse_quote};

use self::args::{Param, RESULT, Travels};
use self::options::Options;
use crate::attr::Errors;

/// What `#[task(options)] item` becomes; `root` is the path of the library.
pub(crate) fn expand(options: TokenStream, item: TokenStream, root: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::read(options, &mut errors);
    let function = errors.keep(syn::parse2::<Function>(item.clone()));
    let task = function.and_then(|function| Task::new(options, function, &mut errors));
    let comes_back = task.as_ref().is_none_or(|task| task.mode != Mode::Elsewhere);
    let allowed = task
        .as_ref()
        .is_some_and(|task| task.sound && matches!(task.mode, Mode::Direct | Mode::Blocking))
        .then(|| quote!(#[allow(clippy::needless_pass_by_value, reason = "a job's arguments are the task's own")]));
    let function = comes_back.then(|| args::without_arg_attributes(item));
    let job_side = task.map(|task| emit::job_side(&task, root));
    quote!(#allowed #function #job_side #errors)
}

/// A function whose body is never looked at.
struct Function {
    attrs: Vec<Attribute>,
    vis: Visibility,
    sig: Signature,
    has_body: bool,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        if !is_function(input.fork().parse()?) {
            return Err(input.error("`#[task]` goes on a function, `async fn name(..) { .. }`"));
        }
        let sig = input.parse()?;
        let has_body = !input.peek(Token![;]);
        input.parse::<TokenStream>()?;
        Ok(Self { attrs, vis, sig, has_body })
    }
}

/// Whether nothing but words and the name of an ABI stands before `fn`.
fn is_function(item: TokenStream) -> bool {
    let mut words = item.into_iter().take_while(|token| matches!(token, TokenTree::Ident(_) | TokenTree::Literal(_)));
    words.any(|word| word.to_string() == "fn")
}

/// How the function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Awaited.
    Async,
    /// Called on the thread of the runtime.
    Direct,
    /// Called on the blocking pool.
    Blocking,
    /// By another program.
    Elsewhere,
}

/// What the function returns.
struct Output {
    /// The result, without the `Result` around it.
    ty: Type,
    fallible: bool,
    /// Where the whole of it stands.
    place: Span,
}

/// A task, read and checked.
struct Task {
    attrs: Vec<Attribute>,
    vis: Visibility,
    ident: Ident,
    /// Its name on the wire.
    name: String,
    options: Options,
    mode: Mode,
    params: Vec<Param>,
    /// Where the parameters stand.
    list: Span,
    output: Output,
    /// Whether the signature can be a task's. If not, what is emitted only keeps further errors away.
    sound: bool,
}

impl Task {
    /// Nothing for a method: its type can't stand beside it, in an `impl`.
    fn new(options: Options, function: Function, errors: &mut Errors) -> Option<Self> {
        let Function { attrs, vis, sig, has_body } = function;
        let before = errors.len();
        check_qualifiers(&sig, errors);
        let params = args::read(&sig, errors);
        let mut output = read_output(&sig.output, errors);
        if !sig.generics.params.is_empty() {
            output.ty = parse_quote!(());
        }
        let sound = errors.len() == before;
        let mode = options.mode(&sig, has_body);
        options.check(mode, errors);
        if mode == Mode::Elsewhere {
            check_elsewhere(&params, &sig, errors);
        } else if options.slots.cron.is_some() {
            check_scheduled(&params, errors);
        }
        let free = sig.receiver().is_none();
        let list = sig.paren_token.span.join();
        let ident = sig.ident;
        let name = options.slots.name.as_ref().map_or_else(|| ident.unraw().to_string(), |name| name.value.0.clone());
        free.then_some(Self { attrs, vis, ident, name, options, mode, params, list, output, sound })
    }
}

impl Task {
    /// The parameters that travel, in order.
    fn travelling(&self) -> impl Iterator<Item = &Travels> {
        self.params.iter().filter_map(|param| match param {
            Param::Travels(argument) => Some(argument),
            _ => None,
        })
    }

    /// The types of the states that it wants.
    fn states(&self) -> impl Iterator<Item = &Type> {
        self.params.iter().filter_map(|param| match param {
            Param::State(ty) => Some(ty),
            _ => None,
        })
    }
}

fn check_qualifiers(sig: &Signature, errors: &mut Errors) {
    if let Some(constness) = &sig.constness {
        errors.at(constness, "a task is called when the program runs: leave out `const`");
    }
    if let Safety::Unsafe(unsafety) = &sig.safety {
        errors.at(unsafety, "a worker can't promise what an `unsafe fn` asks of its caller: put it into a safe one");
    }
    if let Some(abi) = &sig.abi {
        errors.at(abi, "a task is called from Rust: leave out the ABI");
    }
    if let Some(variadic) = &sig.variadic {
        errors.at(variadic, "a job's arguments are fixed in number: take a `Vec`");
    }
    if !sig.generics.params.is_empty() {
        errors.at(&sig.generics, "all jobs of a task call one function: leave this out and name the types");
    } else if let Some(bounds) = &sig.generics.where_clause {
        errors.at(bounds, "a task is not generic: leave out the bounds");
    }
}

fn read_output(output: &ReturnType, errors: &mut Errors) -> Output {
    let unit = || parse_quote!(());
    let ReturnType::Type(_, returned) = output else {
        return Output { ty: unit(), fallible: false, place: Span::call_site() };
    };
    let result = args::last_segment(returned).filter(|segment| segment.ident == "Result");
    let fallible = result.is_some();
    // A `Result` without types is an alias, like `fmt::Result`.
    let ty = match result {
        Some(result) => args::type_arguments(result).first().map_or_else(unit, |ty| (*ty).clone()),
        None => (**returned).clone(),
    };
    let ty = if RESULT.owned(&ty, errors) { ty } else { unit() };
    Output { ty, fallible, place: returned.span() }
}

/// Where a task has no body, everything but its arguments' types is another program's affair.
fn check_elsewhere(params: &[Param], sig: &Signature, errors: &mut Errors) {
    for (param, input) in params.iter().zip(&sig.inputs) {
        let FnArg::Typed(typed) = input else { continue };
        match param {
            Param::Context { .. } => {
                errors.at(input, "a context is given where the task has its body: leave it out here");
            }
            Param::State(_) => errors.at(input, "a state is given where the task has its body: leave it out here"),
            Param::Travels(_) | Param::Broken => {
                for attr in args::arg_attributes(&typed.attrs) {
                    errors.at(attr, "this counts where the task has its body: leave it out here");
                }
            }
        }
    }
}

/// A schedule enqueues jobs without arguments.
fn check_scheduled(params: &[Param], errors: &mut Errors) {
    for param in params {
        let Param::Travels(argument) = param else { continue };
        let optional = args::last_segment(&argument.ty).is_some_and(|segment| segment.ident == "Option");
        if argument.default.is_none() && !optional {
            let ty = args::written(&argument.ty);
            let message = format!("a schedule gives no arguments: take `Option<{ty}>`, or add `#[arg(default = ..)]`");
            errors.at(&argument.ty, message);
        }
    }
}
