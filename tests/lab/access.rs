//! Who may enter the control plane: static tokens for people and for the lab's parts, issued ones for ServiceAccounts.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

/// The user who may do everything.
pub const ADMIN: &str = "admin";
/// The lab's own parts. Each has a name, so that the audit log tells them apart.
const PARTS: [&str; 4] = ["kube-controller-manager", "kube-scheduler", "kwok", "traefik"];
const MASTERS: &str = "system:masters";
const TOKEN_SECONDS: i64 = 24 * 3600;

/// A person, and the groups that the API server is told about.
#[derive(Clone, Debug)]
pub struct User {
    /// The name, as RBAC and the audit log know it.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
}

impl User {
    /// A person of some groups.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        Self { name: name.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect() }
    }
}

/// Kubeconfig files in the lab's folder.
pub struct Access {
    dir: PathBuf,
    users: Vec<String>,
}

impl Access {
    /// Writes the token list and the key that signs ServiceAccount tokens.
    pub fn new(dir: &Path, users: &[User]) -> Result<Self> {
        let masters = [ADMIN].iter().chain(&PARTS).map(|name| User::new(name, &[MASTERS]));
        let everybody: Vec<User> = masters.chain(users.iter().cloned()).collect();
        let mut tokens = String::new();
        for User { name, groups } in &everybody {
            writeln!(tokens, "{},{name},{name},\"{}\"", token_of(name), groups.join(","))?;
        }
        fs::write(dir.join("tokens.csv"), tokens)?;
        let (private, public) = signing_keys()?;
        fs::write(dir.join("service-account.key"), private)?;
        fs::write(dir.join("service-account.pub"), public)?;
        Ok(Self { dir: dir.to_owned(), users: everybody.into_iter().map(|user| user.name).collect() })
    }

    /// Address of an API server.
    pub fn server(index: usize) -> String {
        format!("https://198.18.255.{}:{}", index + 1, Self::port(index))
    }

    /// Port of an API server.
    pub fn port(index: usize) -> usize {
        6443 + index
    }

    /// Folder of an API server's self-signed certificate.
    pub fn certificates(&self, index: usize) -> PathBuf {
        self.dir.join(format!("certificates-{index}"))
    }

    /// Where a user's kubeconfig for an API server is.
    pub fn kubeconfig(&self, user: &str, server: usize) -> PathBuf {
        let server = if server == 0 { String::new() } else { format!("-{server}") };
        self.dir.join(format!("{user}{server}.kubeconfig"))
    }

    /// Writes everybody's kubeconfig for an API server that has made its certificate.
    pub fn open(&self, server: usize) -> Result<()> {
        self.users.iter().try_for_each(|user| self.write(user, &token_of(user), server).map(drop))
    }

    /// A client with every right.
    pub async fn client(&self, server: usize) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(ADMIN, server))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Writes a kubeconfig with a fresh token of a ServiceAccount.
    pub async fn token_for(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
        server: usize,
    ) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let spec =
            TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("no token for ServiceAccount {namespace}/{name}"))?;
        let status = answer.status.context("the API server answered without a token")?;
        self.write(&format!("{namespace}-{name}"), &status.token, server)
    }

    fn write(&self, user: &str, token: &str, server: usize) -> Result<PathBuf> {
        let path = self.kubeconfig(user, server);
        let certificate = self.certificates(server).join("apiserver.crt");
        let certificate = fs::read(&certificate).with_context(|| format!("no {}", certificate.display()))?;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
             clusters:\n- name: lab\n  cluster: {{server: \"{}\", certificate-authority-data: {}}}\n\
             users:\n- name: {user}\n  user: {{token: \"{token}\"}}\n\
             contexts:\n- name: lab\n  context: {{cluster: lab, user: {user}}}\n",
            Self::server(server),
            BASE64.encode(certificate),
        );
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Tokens need no secrecy: nobody outside the namespace can reach the API server.
fn token_of(user: &str) -> String {
    format!("token-of-{user}")
}

/// A private key and its public half, as PEM.
fn signing_keys() -> Result<(String, String)> {
    /// What an X.509 SubjectPublicKeyInfo of a P-256 key begins with; the point follows.
    const PUBLIC_KEY_HEAD: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let random = SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
    let private = private.ok().context("cannot make a signing key")?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref(), &random);
    let pair = pair.ok().context("cannot read the signing key")?;
    let public = [&PUBLIC_KEY_HEAD, pair.public_key().as_ref()].concat();
    Ok((pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", &public)))
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
}
