//! `#[each_fault]` in place of `#[tokio::test(start_paused = true)]`.
//!
//! It only hands the body to `crate::fault::each_fault`, which does the rest: a body that is run
//! more than once cannot be had from tokio's attribute.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// Runs an `async fn` as a test, and again with each operation of its transports hit by each
/// fault; see `tests/it/fault.rs`, which says what is asked of it, and what `(counts)` means.
#[proc_macro_attribute]
pub fn each_fault(argument: TokenStream, item: TokenStream) -> TokenStream {
    let judged = match argument.to_string().as_str() {
        "" => "Strictly",
        "counts" => "Leniently",
        _ => {
            return r#"compile_error!("nothing, or `counts`");"#
                .parse()
                .unwrap_or_default();
        }
    };
    let mut function: Vec<TokenTree> = item.into_iter().collect();
    let body = function.pop();
    function.retain(|token| token.to_string() != "async");
    let judged = format!("crate::fault::Judged::{judged}, async ||");
    let mut arguments: TokenStream = judged.parse().unwrap_or_default();
    arguments.extend(body);
    let mut call: TokenStream = "crate::fault::each_fault".parse().unwrap_or_default();
    let arguments = Group::new(Delimiter::Parenthesis, arguments);
    call.extend([TokenTree::from(arguments)]);
    let mut test: TokenStream = "#[test]".parse().unwrap_or_default();
    test.extend(function);
    let body = Group::new(Delimiter::Brace, call);
    test.extend([TokenTree::from(body)]);
    test
}
