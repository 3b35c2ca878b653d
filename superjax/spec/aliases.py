"""The names that other code has for the fields of a sweep: name -> what to write here."""

ALIASES = {
    alias: ours
    for ours, aliases in {
        "n_features": "n n_feature features n_feat num_features d_in n_inputs input_dim",
        "n_hidden": "m hidden d_hidden num_hidden hidden_dim hidden_size d_model",
        "restarts": "n_instances instances n_models n_restarts n_seeds seeds",
        "seed": "random_seed rng random_state",
        "importance": "importances feature_importance",
        "importance.ratio": "importance_decay importance_base",
        "data.density": "feature_probability feature_probabilities feature_prob probability prob p",
        "data.density, which is 1 - sparsity": "sparsity sparsities",
        "data.kind": "distribution data_type",
        "data.set_size": "group_size n_correlated_pairs n_anticorrelated_pairs",
        "model.kind": "activation act_fn nonlinearity model_type architecture",
        "model.init_std": "init_scale std sigma",
        "train.learning_rate": "lr rate step_size eta",
        "train.weight_decay": "wd decay l2",
        "train.optimizer": "optim opt optimiser",
        "train.schedule": "lr_schedule lr_scale scheduler lr_scheduler",
        "train.steps": "num_steps n_steps epochs n_epochs num_epochs iterations n_iter max_steps",
        "train.batch": "batch_size bs n_samples samples",
        "train.clip_norm": "grad_clip max_grad_norm clip gradient_clip",
        "train.warmup_steps": "warmup",
        "train.b1 and train.b2": "betas beta1 beta2",
        "train.eps": "epsilon",
        "train.objective": "loss criterion",
        "train.snapshots": "checkpoints log_freq save_every",
    }.items()
    for alias in aliases.split()
}
