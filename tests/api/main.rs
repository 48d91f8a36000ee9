use palier::api::crds;
#[test]
fn dump() {
    for crd in crds::all() {
        let value = serde_json::to_value(&crd).unwrap();
        let text = serde_saphyr::to_string(&value).unwrap();
        let file = format!("crds/palier.dev_{}.yaml", crd.spec.names.plural);
        std::fs::write(file, text).unwrap();
    }
}
