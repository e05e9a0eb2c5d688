//! The parameters of a task: which travel with its jobs, and which are given where it runs.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    AngleBracketedGenericArguments, Attribute, Expr, FnArg, GenericArgument, Ident, Meta, Pat, PatType, PathArguments,
    PathSegment, Signature, Type,
};

use crate::attr::{Errors, Scalar, options, read_options};
use crate::value::Flag;

/// The longest list of arguments that the library binds.
const MOST: usize = 12;

/// A parameter of a task.
pub(crate) enum Param {
    /// `ctx: &Context`, or `ctx: Context`.
    Context { by_value: bool, ty: Type },
    /// `State(db): State<Db>`, of which this is `Db`.
    State(Type),
    /// One that travels.
    Travels(Travels),
    /// One with an error that has been told.
    Broken,
}

/// A parameter that travels.
pub(crate) struct Travels {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) default: Option<MissingValue>,
    pub(crate) redact: bool,
}

/// `default` alone, or `default = EXPR`: what stands in for a missing argument.
pub(crate) struct MissingValue(pub(crate) Option<Expr>);

impl Scalar for MissingValue {
    const TAKES: &'static str = "an expression of the parameter's type";

    fn read(value: &Expr) -> Result<Self, String> {
        Ok(Self(Some(value.clone())))
    }

    fn bare() -> Option<Self> {
        Some(Self(None))
    }
}

/// Reads the parameters of `sig`.
pub(crate) fn read(sig: &Signature, errors: &mut Errors) -> Vec<Param> {
    let params: Vec<Param> = sig.inputs.iter().map(|input| read_one(input, errors)).collect();
    let contexts = params.iter().zip(&sig.inputs).filter(|(param, _)| matches!(param, Param::Context { .. }));
    for (_, second) in contexts.skip(1) {
        errors.at(second, "the context is given once: leave this parameter out");
    }
    let travelling =
        params.iter().zip(&sig.inputs).filter(|(param, _)| matches!(param, Param::Travels(_) | Param::Broken));
    if let Some((_, extra)) = travelling.into_iter().nth(MOST) {
        errors.at(extra, format!("a job has at most {MOST} arguments: put some of them into a struct"));
    }
    params
}

fn read_one(input: &FnArg, errors: &mut Errors) -> Param {
    let FnArg::Typed(param) = input else {
        errors.at(input, "a task is a free function, without `self`: give it what it needs as `State(..): State<T>`");
        return Param::Broken;
    };
    if let Some(attr) = param.attrs.iter().find(|attr| attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr"))
    {
        errors.at(attr, "all programs of a queue must agree on a task's parameters: put the `cfg` on the task");
        return Param::Broken;
    }
    let given = match plain(&param.ty) {
        Type::Reference(reference) if reference.mutability.is_none() && is_context(&reference.elem) => {
            Param::Context { by_value: false, ty: (*param.ty).clone() }
        }
        ty if is_context(ty) => Param::Context { by_value: true, ty: (*param.ty).clone() },
        ty => match (state(ty), misplaced(ty)) {
            (Some(inner), _) => Param::State(inner.clone()),
            (None, Some(message)) => {
                errors.at(ty, message);
                return Param::Broken;
            }
            (None, None) => return travels(param, errors).map_or(Param::Broken, Param::Travels),
        },
    };
    for attr in arg_attributes(&param.attrs) {
        errors.at(attr, "`#[arg(..)]` is for arguments that travel; this one is given where the task runs");
    }
    given
}

fn travels(param: &PatType, errors: &mut Errors) -> Option<Travels> {
    let options = ArgOptions::read(&param.attrs, errors);
    let ident = name(&param.pat, errors);
    let fits = ARGUMENT.owned(&param.ty, errors);
    let default = options.default.map(|given| given.value);
    let redact = options.redact.is_some_and(|given| given.value.0);
    ident.filter(|_| fits).map(|ident| Travels { ident, ty: (*param.ty).clone(), default, redact })
}

/// The name under which an argument is stored.
fn name(pat: &Pat, errors: &mut Errors) -> Option<Ident> {
    match pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => return Some(pat.ident.clone()),
        Pat::Wild(_) => errors.at(pat, "a job's arguments are stored by name: call it `_name`"),
        _ => errors.at(pat, "a job's arguments are stored by name: write `name: Type` and take it apart in the body"),
    }
    None
}

options! {
    /// The options of `#[arg(..)]`.
    ArgOptions { default: MissingValue, redact: Flag, }
}

impl ArgOptions {
    fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut options = Self::default();
        for attr in arg_attributes(attrs) {
            match &attr.meta {
                Meta::List(list) if !list.tokens.is_empty() => {
                    read_options(list.tokens.clone(), errors, |key, input| options.set(key, input));
                }
                _ => {
                    errors
                        .at(attr, "`#[arg]` is written `#[arg(default)]`, `#[arg(default = ..)]` or `#[arg(redact)]`");
                }
            }
        }
        options
    }
}

pub(crate) fn arg_attributes(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("arg"))
}

/// The type without parentheses and the groups that `macro_rules!` adds.
pub(crate) fn plain(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => plain(&group.elem),
        Type::Paren(paren) => plain(&paren.elem),
        ty => ty,
    }
}

/// The last segment of a type's path.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match plain(ty) {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    }
}

/// The types between a segment's angle brackets.
pub(crate) fn type_arguments(segment: &PathSegment) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return Vec::new() };
    let mut types = Vec::new();
    for argument in &arguments.args {
        if let GenericArgument::Type(ty) = argument {
            types.push(ty);
        }
    }
    types
}

fn is_context(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "Context" && segment.arguments.is_none())
}

/// What to say of a context or state that is taken in a way in which none is given.
fn misplaced(ty: &Type) -> Option<String> {
    let taken = match ty {
        Type::Reference(reference) => plain(&reference.elem),
        ty => ty,
    };
    if last_segment(taken).is_some_and(|segment| segment.ident == "WorkerContext") {
        return Some(
            "a task is given `&Context`; `&WorkerContext` is for a worker's `on_startup` and `on_shutdown`".to_owned(),
        );
    }
    match ty {
        Type::Reference(_) if is_context(taken) => Some("the context is shared: take `&Context`".to_owned()),
        Type::Reference(_) if state(taken).is_some() => {
            Some(format!("take `{}` itself, not a reference", written(taken)))
        }
        _ => None,
    }
}

/// The `T` of `State<T>`.
fn state(ty: &Type) -> Option<&Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "State")?;
    match type_arguments(segment)[..] {
        [inner] => Some(inner),
        _ => None,
    }
}

/// What a type is for.
pub(crate) struct Role {
    why: &'static str,
    verb: &'static str,
}

const ARGUMENT: Role = Role { why: "a job's arguments travel as data", verb: "take" };
pub(crate) const RESULT: Role = Role { why: "a job's result travels as data", verb: "return" };

impl Role {
    /// Whether `ty` can be a value on its own, as far as its tokens show.
    pub(crate) fn owned(&self, ty: &Type, errors: &mut Errors) -> bool {
        let before = errors.len();
        self.check(ty, errors);
        errors.len() == before
    }

    fn check(&self, ty: &Type, errors: &mut Errors) {
        match ty {
            Type::Group(group) => self.check(&group.elem, errors),
            Type::Paren(paren) => self.check(&paren.elem, errors),
            Type::Array(array) => self.check(&array.elem, errors),
            Type::Tuple(tuple) => tuple.elems.iter().for_each(|elem| self.check(elem, errors)),
            Type::Path(path) => path.path.segments.iter().for_each(|segment| self.check_segment(segment, errors)),
            Type::Reference(reference) => self.refuse(ty, &self.instead_of(&reference.elem), errors),
            Type::Slice(_) => self.refuse(ty, &self.instead_of(ty), errors),
            Type::ImplTrait(_) => self.refuse(ty, "name a type that has this trait", errors),
            Type::Infer(_) => self.refuse(ty, "name the type", errors),
            Type::Never(_) => self.refuse(ty, "`!` has no values", errors),
            _ => {}
        }
    }

    fn check_segment(&self, segment: &PathSegment, errors: &mut Errors) {
        let PathArguments::AngleBracketed(AngleBracketedGenericArguments { args, .. }) = &segment.arguments else {
            return;
        };
        for argument in args {
            match argument {
                GenericArgument::Type(ty) => self.check(ty, errors),
                GenericArgument::Lifetime(lifetime) if lifetime.ident != "static" => {
                    let instead = format!("{} a type without a lifetime, or with `'static`", self.verb);
                    self.refuse(lifetime, &instead, errors);
                }
                _ => {}
            }
        }
    }

    /// What to write in place of a reference to `elem`.
    fn instead_of(&self, elem: &Type) -> String {
        let named = last_segment(elem).map(|segment| segment.ident.to_string()).unwrap_or_default();
        let owned = match (plain(elem), named.as_str()) {
            (Type::Slice(slice), _) => format!("Vec<{}>", written(&slice.elem)),
            (_, "str") => "String".to_owned(),
            (_, "Path") => "PathBuf".to_owned(),
            (_, "OsStr") => "OsString".to_owned(),
            _ => written(elem),
        };
        format!("{} `{owned}`", self.verb)
    }

    fn refuse(&self, place: impl ToTokens, instead: &str, errors: &mut Errors) {
        errors.at(place, format!("{}: {instead}", self.why));
    }
}

/// Spaces that tokens have between them and people leave out, and one the other way round.
const SPACES: [(&str, &str); 10] = [
    (" < ", "<"),
    (" <", "<"),
    ("< ", "<"),
    (" >", ">"),
    (" :: ", "::"),
    (":: ", "::"),
    (" ,", ","),
    (" ;", ";"),
    ("& ", "&"),
    (",<", ", <"),
];

/// A type the way people write it.
pub(crate) fn written(ty: impl ToTokens) -> String {
    let text = ty.to_token_stream().to_string();
    SPACES.iter().fold(text, |text, (spaced, tight)| text.replace(spaced, tight))
}

/// The function as it comes back: without the `#[arg(..)]` of its parameters, otherwise token for token.
pub(crate) fn without_arg_attributes(item: TokenStream) -> TokenStream {
    let in_parentheses = |token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => TokenTree::Group(strip(&group)),
        token => token,
    };
    item.into_iter().map(in_parentheses).collect()
}

fn strip(parameters: &Group) -> Group {
    let mut kept = Vec::new();
    for token in parameters.stream() {
        match (&token, kept.last()) {
            (TokenTree::Group(group), Some(TokenTree::Punct(hash))) if hash.as_char() == '#' && is_arg(group) => {
                kept.pop();
            }
            _ => kept.push(token),
        }
    }
    if kept.len() == parameters.stream().into_iter().count() {
        return parameters.clone();
    }
    let mut stripped = Group::new(Delimiter::Parenthesis, kept.into_iter().collect());
    stripped.set_span(parameters.span());
    stripped
}

fn is_arg(attribute: &Group) -> bool {
    let first = attribute.stream().into_iter().next();
    attribute.delimiter() == Delimiter::Bracket && matches!(first, Some(TokenTree::Ident(name)) if name == "arg")
}
