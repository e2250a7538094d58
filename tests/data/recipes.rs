//! The recipes that come with nin.

use std::fs;
use std::path::Path;

use nin::Model;
use nin::train::{Init, LayerSettings, Recipe};

/// Each recipe with a model it is for.
const RECIPES: &[(&str, &str)] = &[
    ("authors-cifar10", "nin-cifar10"),
    ("authors-cifar10-augmented", "nin-cifar10"),
    ("authors-svhn", "nin-svhn"),
    ("authors-mnist", "nin-mnist"),
    ("authors-cifar100", "nin-cifar100"),
    ("caffe-cifar10", "nin-cifar10-caffe"),
    ("ablation", "ablation/gap"),
    ("ablation", "ablation/fc"),
    ("fast-cifar10", "nin-cifar10"),
    ("fast-mnist", "nin-mnist"),
    ("digits-small", "digits-small"),
];

#[test]
fn every_recipe_fits_its_models_and_says_where_it_is_from() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, model) in RECIPES {
        let file = root.join(format!("recipes/{name}.toml"));
        let recipe = Recipe::from_file(&file).unwrap_or_else(|error| panic!("{error}"));
        let model = Model::from_file(root.join(format!("models/{model}.nin")), &[]).unwrap();
        recipe.check_layers(model.graph()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(fs::read_to_string(&file).unwrap().contains("\n# Source: "), "{name}");
    }
    for entry in fs::read_dir(root.join("recipes")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(RECIPES.iter().any(|&(known, _)| known == name), "{name} is of no model");
    }
}

/// Rates as the authors' files come to, in the end: of weights, of biases, and of both in the last convolution.
#[test]
fn the_authors_rates_are_theirs() {
    let read = |name: &str| {
        Recipe::from_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes").join(name))
            .unwrap()
    };
    let recipe = read("authors-cifar10.toml");
    assert_eq!((recipe.lr, recipe.lr * recipe.bias_lr), (0.1, 0.2));
    assert_eq!(recipe.init, Init::Gaussian { std: 0.05 });
    let factor = |epoch: u64| recipe.schedule.factor(epoch, 260, nin::train::Plateau::default());
    assert_eq!([0, 199].map(factor), [1.0; 2]);
    assert!((factor(200) - 0.1).abs() < 1e-9 && (factor(259) - 0.01).abs() < 1e-9);
    assert_eq!(
        read("authors-cifar10-augmented.toml"),
        Recipe { augment: nin::train::Augment { pad: 4, flip: true }, ..recipe }
    );
}

/// Behind dropout that nin scales in training and the authors at the test: see `authors-cifar10.toml`.
#[test]
fn the_authors_layers_behind_dropout_are_written_for_nins() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in RECIPES.iter().filter(|(name, _)| name.starts_with("authors-")) {
        let recipe = Recipe::from_file(&root.join(format!("recipes/{name}.toml"))).unwrap();
        let Init::Gaussian { std } = recipe.init else { panic!("{name}: {:?}", recipe.init) };
        for layer in ["mlpconv2.conv", "mlpconv3.conv"] {
            let expected = LayerSettings {
                name: layer.to_owned(),
                std: Some(std / 2.0),
                lr: Some(0.25),
                bias_lr: Some(recipe.bias_lr * 4.0),
                weight_decay: Some(recipe.weight_decay * 4.0),
            };
            assert!(recipe.layers.contains(&expected), "{name}: {layer}");
        }
    }
}
