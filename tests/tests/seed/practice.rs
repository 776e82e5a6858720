//! "Best Practices".

use bytes::Bytes;
use registry_core::signature::{Field, Scalar, Schema, Signature};
use registry_core::{
    Bump, Content, PromoteOptions, Promotion, Registration, RegistryExt as _, Rejection, Scope, Selector,
    Stage, Upload,
};

use crate::operations::reviewed_by;
use crate::world::{World, because, by, number, taking};

/// "1. Semantic Versioning": `v3.0.0 → v4.0.0`, `v3.1.0` and `v3.0.1`.
pub(crate) async fn three_kinds_of_change(world: World) {
    world.register("v3.0.0", taking(&["amount"])).await;
    for (bump, expected) in [(Bump::Patch, "v3.0.1"), (Bump::Minor, "v3.1.0"), (Bump::Major, "v4.0.0")] {
        let bytes = Bytes::from(format!("for {expected}"));
        let upload = Upload { path: "model.pkl".parse().unwrap(), source: &bytes };
        let registration = Registration::new(bump, taking(&["amount"]));
        let done = world.registry.register(&world.ana, &world.model, registration, &[upload]).await.unwrap();
        assert_eq!(done.version.version.to_string(), expected);
    }
}

/// "2. Model Signatures": they refuse what would break callers.
pub(crate) async fn signatures(world: World) {
    let signature = |location: Scalar| {
        let inputs = vec![
            Field::new("amount", Scalar::Double),
            Field::new("merchant_id", Scalar::Long),
            Field::new("location", location),
        ];
        let outputs = vec![
            Field::new("fraud_probability", Scalar::Double),
            Field::new("fraud_flag", Scalar::Boolean),
            Field::new("risk_score", Scalar::Double),
        ];
        let schema = |fields| Some(Schema::new(fields).unwrap());
        Content {
            signature: Some(Signature::new(schema(inputs), schema(outputs), Vec::new()).unwrap()),
            ..Content::default()
        }
    };
    world.register("v3.0.0", signature(Scalar::String)).await;
    let registration = Registration::new(number("v3.1.0"), signature(Scalar::Long));
    let refused = world.registry.register(&world.ana, &world.model, registration, &[]).await.unwrap_err();
    assert!(matches!(refused.rejection(), Some(Rejection::VersionTooSmall { .. })), "{refused}");
    assert!(refused.to_string().contains("inputs.location"), "{refused}");
    let state = world.registry.model(&world.model).await.unwrap();
    assert_eq!(state.versions().count(), 1, "nothing was registered");
}

/// "3. Model Approval Workflow".
pub(crate) async fn approval(world: World) {
    let (registry, model) = (&world.registry, &world.model);
    let rule = reviewed_by(&["bo@example.com", "chen@example.com"]);
    registry.set_stage_rule(&world.ana, &Scope::Registry, Stage::Production, Some(rule)).await.unwrap();
    world.register("v3.1.0", taking(&["amount"])).await;
    world.promote("v3.1.0", Stage::Staging).await;
    let version = number("v3.1.0");
    let options = PromoteOptions::default();
    let asked = registry.promote(&world.ana, model, &version, Stage::Production, options).await.unwrap();
    assert!(matches!(asked, Promotion::Pending { approvals_missing: 1, .. }), "{asked:?}");
    for stranger in [&world.ana, &by("mallory@example.com")] {
        let refused = registry.approve(stranger, model, &version, None, None, None).await.unwrap_err();
        assert!(refused.rejection().is_some(), "{refused}");
    }
    let comment = "Tested in staging, accuracy improved 2%, latency reduced 12%".parse().unwrap();
    let bo = by("bo@example.com");
    let done = registry.approve(&bo, model, &version, None, None, Some(comment)).await.unwrap();
    assert!(done.is_done());
    assert_eq!(world.in_production().await, "v3.1.0");
}

/// "4. Model Deprecation".
pub(crate) async fn deprecation(world: World) {
    for version in ["v2.5.0", "v3.0.0"] {
        world.register(version, taking(&["amount"])).await;
    }
    let why = because(&world.ana, "Superseded by v3.x series");
    let (old, new) = (number("v2.5.0"), number("v3.0.0"));
    let end = Some("2024-06-01T00:00:00Z".parse().unwrap());
    world.registry.deprecate(&why, &world.model, &old, Some(&new), end).await.unwrap();
    let found = world.registry.get(&world.model, &Selector::Version(old.clone())).await.unwrap();
    let warning = found.warnings().join("\n");
    for says in ["deprecated", "Superseded by v3.x series", "use v3.0.0 instead", "2024-06-01"] {
        assert!(warning.contains(says), "{says}: {warning}");
    }
    // Its life is over: nothing takes it into service any more.
    let options = PromoteOptions::default();
    let refused =
        world.registry.promote(&world.ana, &world.model, &old, Stage::Staging, options).await.unwrap_err();
    assert!(refused.rejection().is_some(), "{refused}");
}
