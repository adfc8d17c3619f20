//! From a name to addresses, each of them looked at. What is looked at is what is connected to: the client asks for the
//! addresses once per connection, here, so a name server that answers differently the second time gains nothing.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};

use futures::future::BoxFuture;
use hickory_resolver::{TokioResolver, config::LookupIpStrategy};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Refusal, allow::Network};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Addresses on their way.
pub type Looking = BoxFuture<'static, Result<Vec<IpAddr>, BoxError>>;

/// Who knows names' addresses.
pub trait Lookup: Send + Sync {
    /// The addresses of `name`.
    fn lookup(&self, name: &str) -> Looking;
}

/// What lies round the appliance. Only the default is the world; another is made by tests, and no setting leads here.
#[derive(Clone)]
pub struct Surroundings {
    lookup: Arc<dyn Lookup>,
    public: Arc<BTreeSet<IpAddr>>,
}

impl Surroundings {
    /// A world for tests, in which `lookup` knows the names and these addresses of the own network are the internet.
    #[doc(hidden)]
    pub fn pretended(lookup: Arc<dyn Lookup>, public: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { lookup, public: Arc::new(public.into_iter().collect()) }
    }

    /// Whether a test has said that this address is to count as the internet.
    pub(super) fn is_public(&self, address: IpAddr) -> bool {
        self.public.contains(&address)
    }
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { lookup: Arc::new(System::default()), public: Arc::default() }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The name servers of `/etc/resolv.conf`, asked without the C library: in a static binary its resolver would load
/// plug-ins at run time.
#[derive(Default)]
struct System(OnceLock<TokioResolver>);

impl System {
    /// Made at the first use, because it wants a runtime. Without a `resolv.conf` there is no resolver: one that asks
    /// somebody's public name servers instead would be a request that nobody allowed.
    fn resolver(&self) -> Result<TokioResolver, BoxError> {
        if let Some(resolver) = self.0.get() {
            return Ok(resolver.clone());
        }
        let mut builder = TokioResolver::builder_tokio()?;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(self.0.get_or_init(|| builder.build()).clone())
    }
}

impl Lookup for System {
    fn lookup(&self, name: &str) -> Looking {
        let (resolver, name) = (self.resolver(), name.to_owned());
        Box::pin(async move { Ok(resolver?.lookup_ip(name).await?.into_iter().collect()) })
    }
}

/// The resolver of one client: it knows one name, and gives its addresses only if all of them may be reached.
pub(super) struct Guarded {
    pub(super) host: String,
    pub(super) network: Network,
    pub(super) surroundings: Surroundings,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        if name.as_str() != self.host {
            return Box::pin(std::future::ready(Err(Refusal::Elsewhere.into())));
        }
        let (host, network, surroundings) = (self.host.clone(), self.network, self.surroundings.clone());
        Box::pin(async move {
            let addresses = surroundings.lookup.lookup(&host).await?;
            // One bad address among good ones is no accident, so the whole name is refused.
            for &address in &addresses {
                if let Some(what) = network.objection(address, &surroundings) {
                    return Err(Refusal::Address { host, address: Some(address), what }.into());
                }
            }
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
