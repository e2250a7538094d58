//! It learns; what makes no sense is refused and changes nothing; a training goes on where another stopped.

use super::*;

/// A vector for each tensor.
type Tensors = [Vec<f32>; TENSORS.len()];

/// Weights and momentum of a net.
fn saved(net: &Net) -> [Tensors; 2] {
    let mut saved = [(); 2].map(|()| TENSORS.map(|(_, length)| vec![0.0; length]));
    let [tensors, momentum] = saved.each_mut();
    net.save(
        tensors.each_mut().map(Vec::as_mut_slice),
        Some(momentum.each_mut().map(Vec::as_mut_slice)),
    );
    saved
}

#[test]
fn it_learns() {
    let mut random = Random(2);
    let Some(mut net) = begin(&mut random) else { return };
    let mut settings = settings();
    for step in 0..STEPS {
        settings.step = step;
        let (images, labels) = pictures(&mut random);
        net.step(&images, &labels, &settings).unwrap();
    }
    let accuracy = accuracy(&mut net, &mut random);
    assert!(accuracy > 0.9, "{accuracy}");
}

#[test]
fn a_step_that_makes_no_sense_changes_nothing() {
    let mut random = Random(3);
    let Some(mut net) = begin(&mut random) else { return };
    let (images, mut labels) = pictures(&mut random);
    let before = saved(&net);
    assert_eq!(net.step(&[], &[], &settings()), None);
    assert_eq!(net.step(&[images[0]; BATCH + 1], &[0; BATCH + 1], &settings()), None);
    labels[1] = CLASSES.len() as u32;
    assert_eq!(net.step(&images, &labels, &settings()), None);
    assert_eq!(saved(&net), before);
}

#[test]
fn a_training_goes_on_where_another_stopped() {
    let mut random = Random(4);
    let Some(mut whole) = begin(&mut random) else { return };
    let (images, labels) = pictures(&mut random);
    whole.step(&images, &labels, &settings()).unwrap();
    let saves = saved(&whole);
    let [tensors, momentum] = saves.each_ref().map(|all| all.each_ref().map(Vec::as_slice));
    let mut resumed = Net::new(tensors, Some(momentum)).expect("the same CPU");
    let settings = Settings { step: 1, ..settings() };
    let outcomes = [&mut whole, &mut resumed].map(|net| net.step(&images, &labels, &settings));
    assert!(outcomes[0].is_some() && outcomes[0] == outcomes[1]);
    assert_eq!(saved(&whole), saved(&resumed));
}
