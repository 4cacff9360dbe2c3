//! Redirects (RFC 9110 §15.4): where one leads, and what goes along.

use std::mem;

use http::header::{HeaderMap, LOCATION};
use http::{Response, StatusCode, Uri};
use hybi_proto::handshake::{Target, UrlError, client};

use crate::error;

/// A redirect that is about to be followed, for [`Client::on_redirect`](crate::Client::on_redirect)
/// to look at.
///
/// To another host or port, and from `wss:` to `ws:`, the credentials have been left behind:
/// `Authorization`, `Cookie`, those of [`basic_auth`](crate::Connect::basic_auth) and of the URL.
#[derive(Debug)]
pub struct Redirect {
    response: Response<()>,
    from: Target,
    from_uri: Uri,
    to: Target,
    to_uri: Uri,
    request: client::Options,
}

impl Redirect {
    /// Where the response leads; `request` is what is asked for there.
    pub(super) fn new(
        response: Response<()>,
        from: &Target,
        request: client::Options,
        location: &str,
    ) -> Result<Self, UrlError> {
        let uri = from.uri()?;
        let mut redirect = Self {
            response,
            from: from.clone(),
            from_uri: uri.clone(),
            to: from.clone(),
            to_uri: uri,
            request,
        };
        redirect.lead(location)?;
        Ok(redirect)
    }

    /// What is asked for, and where.
    pub(super) fn into_next(self) -> (Target, client::Options) {
        (self.to, self.request)
    }

    /// The response that redirects: its status is 301, 302, 303, 307 or 308.
    #[must_use]
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Where it comes from, without credentials.
    #[must_use]
    pub fn from(&self) -> &Uri {
        &self.from_uri
    }

    /// Where it leads, without credentials.
    #[must_use]
    pub fn to(&self) -> &Uri {
        &self.to_uri
    }

    /// Leads elsewhere: to a URL, or to a reference that is relative to [`from`](Self::from). What
    /// was left behind stays there, and if this is a server that is not to be trusted with them,
    /// the credentials that were added meanwhile are dropped, too.
    ///
    /// # Errors
    ///
    /// [`Error::Url`](crate::Error::Url), and nothing has changed. No redirect leads to another
    /// Unix socket.
    pub fn set_to(&mut self, to: &str) -> error::Result<()> {
        Ok(self.lead(to)?)
    }

    /// The headers of one's own that are sent there, to change them. Those of the handshake itself
    /// cannot be set.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request.headers_mut()
    }

    fn lead(&mut self, to: &str) -> Result<(), UrlError> {
        let mut to = self.from.join(to)?;
        let uri = to.uri()?;
        if !self.from.trusts(&to) {
            to = to.without_credentials();
            self.request = mem::take(&mut self.request).without_credentials();
        }
        (self.to, self.to_uri) = (to, uri);
        Ok(())
    }
}

/// Where a response redirects to; `None` if it does not, or says it twice.
pub(super) fn location(response: &Response<()>) -> Option<Result<&str, UrlError>> {
    let redirects = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let mut locations = response.headers().get_all(LOCATION).iter();
    let (Some(location), None, true) = (locations.next(), locations.next(), redirects) else {
        return None;
    };
    Some(std::str::from_utf8(location.as_bytes()).map_err(|_| UrlError::Character))
}
