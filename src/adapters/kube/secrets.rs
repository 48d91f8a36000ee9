//! Secrets, by name and only where Palier itself runs.

use k8s_openapi::api::core::v1::Secret;

use super::call::{CallError, Cluster, Path};

/// The value of one key of a Secret; `None` if the Secret has no such key.
///
/// # Errors
/// See [`CallError`]. No error holds anything of the Secret.
pub async fn read(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<Option<Vec<u8>>, CallError> {
    let path = Path::new(("", "v1", "secrets", "Secret"), namespace, name);
    let secret: Secret = cluster.get(&path).await?;
    Ok(secret.data.and_then(|mut data| data.remove(key)).map(|value| value.0))
}
