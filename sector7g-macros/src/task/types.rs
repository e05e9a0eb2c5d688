//! The types of a task's arguments as one tuple, placed where complaints about them belong.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;

use super::Task;

/// Types of the standard library that serde knows, and the words of their paths.
const STANDARD: &str = "bool char f32 f64 i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize std alloc core string \
                        String option Option result Result vec Vec boxed Box path PathBuf net IpAddr time Duration \
                        SystemTime collections BTreeMap BTreeSet HashMap HashSet VecDeque";

/// The tuple of the arguments' types.
pub(super) fn tuple(task: &Task) -> TokenStream {
    let types = task.travelling().map(|argument| &argument.ty);
    let mut tuple = Group::new(Delimiter::Parenthesis, quote!(#(#types,)*));
    tuple.set_span(place(task));
    quote!(#tuple)
}

/// Where the compiler is to say that one of them can't travel.
///
/// It says so of the tuple, which has one place only: that of the single type which is not one of
/// the standard library if there is such a one, else that of all parameters.
pub(super) fn place(task: &Task) -> Span {
    let mut strange = task.travelling().filter(|argument| !is_standard(argument.ty.to_token_stream()));
    match (strange.next(), strange.next()) {
        (Some(argument), None) => argument.ty.span(),
        _ => task.list,
    }
}

fn is_standard(ty: TokenStream) -> bool {
    ty.into_iter().all(|token| match token {
        TokenTree::Ident(name) => STANDARD.split(' ').any(|known| name == known),
        TokenTree::Group(group) => is_standard(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => true,
    })
}
