//! [`Doubt`]: what is odd about a dataset that can be learnt from all the same.

use std::fmt;

use ndarray::{Array4, Axis};

use super::{Dataset, Images};

/// Images that are looked at: enough to know what most are like.
const SAMPLE: usize = 1000;
/// The most that the levels of an image of nearly one colour differ by: 12 bits in 16 leave the upper 16 of 256 unused.
const NEARLY: u8 = 16;

/// What is odd about a dataset, and what it may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// Classes of which there is no training image.
    Unseen {
        /// Their numbers.
        classes: Vec<u32>,
        /// Number of all classes.
        of: usize,
    },
    /// Most training images are nearly of one colour.
    OneColour {
        /// In hundredths.
        share: usize,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Unseen { classes, of } => write!(
                f,
                "no training image has the label {}, of those from 0 to {}: such a class is never learnt. If labels are to \
                 have no gaps, number them anew, as with `numpy.unique(labels, return_inverse=True)[1]`",
                listed(classes),
                of.saturating_sub(1)
            ),
            Doubt::OneColour { share } => write!(
                f,
                "{share} % of the training images are nearly of one colour: their levels differ by {NEARLY} of 255 at most. \
                 Were pixels of few bits kept in more (10 or 12 bits in 16, or 0 and 1 in a byte), or is what they show \
                 black on transparency, which is laid over black?"
            ),
        }
    }
}

/// `1, 3 or 4`, and how many more.
pub(super) fn listed(numbers: &[u32]) -> String {
    const SHOWN: usize = 5;
    let texts = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match numbers {
        [only] => only.to_string(),
        [first @ .., last] if numbers.len() <= SHOWN => format!("{} or {last}", texts(first)),
        _ => {
            let (first, more) = numbers.split_at(SHOWN.min(numbers.len()));
            format!("{} or {} others up to {}", texts(first), more.len(), more.last().unwrap_or(&0))
        }
    }
}

impl Dataset {
    /// What is odd about it, if anything.
    pub fn doubts(&self) -> Vec<Doubt> {
        let unseen = Some(self.unseen()).filter(|classes| !classes.is_empty());
        let unseen = unseen.map(|classes| Doubt::Unseen { classes, of: self.classes().len() });
        let share = match self.train().images() {
            Images::Bytes(images) => flat(images),
            // What black and white are is not known of floats.
            Images::Floats(_) => 0,
        };
        unseen.into_iter().chain((share >= 90).then_some(Doubt::OneColour { share })).collect()
    }

    /// The classes of which there is no training image.
    pub(super) fn unseen(&self) -> Vec<u32> {
        let mut seen = vec![false; self.classes().len()];
        self.train().labels().iter().for_each(|&label| seen[label as usize] = true);
        (0..).zip(seen).filter(|&(_, seen)| !seen).map(|(class, _)| class).collect()
    }
}

/// Of a hundred images, those in which no channel's levels are far apart.
fn flat(images: &Array4<u8>) -> usize {
    let count = images.len_of(Axis(0));
    let (mut flat, mut looked_at) = (0, 0);
    for image in images.axis_iter(Axis(0)).step_by(count.div_ceil(SAMPLE).max(1)) {
        let close = image.axis_iter(Axis(0)).all(|channel| {
            let ends = channel
                .iter()
                .fold((u8::MAX, 0), |(least, most), &level| (level.min(least), level.max(most)));
            ends.1.saturating_sub(ends.0) <= NEARLY
        });
        flat += usize::from(close);
        looked_at += 1;
    }
    100 * flat / looked_at.max(1)
}

#[cfg(test)]
mod tests {
    use super::super::Split;
    use super::*;

    fn doubts(labels: Vec<u32>, level: fn(usize, usize) -> u8) -> Vec<String> {
        let classes = labels.iter().max().unwrap() + 1;
        let images =
            Array4::from_shape_fn((labels.len(), 1, 4, 4), |(n, _, y, x)| level(n, 4 * y + x));
        let names = (0..classes).map(|class| class.to_string()).collect();
        let test = Split::new(Array4::<u8>::zeros((0, 1, 4, 4)), vec![]).unwrap();
        let data = Dataset::new("mine", Split::new(images, labels).unwrap(), test, names).unwrap();
        data.doubts().iter().map(Doubt::to_string).collect()
    }

    #[test]
    fn labels_with_gaps_are_named() {
        let bright = |_, at| (at * 16) as u8;
        assert_eq!(doubts(vec![0, 1, 2, 1], bright), [""; 0]);
        let gaps = doubts(vec![5, 0, 2, 0], bright);
        assert_eq!(gaps.len(), 1);
        assert!(
            gaps[0].contains("no training image has the label 1, 3 or 4, of those from 0 to 5"),
            "{gaps:?}"
        );
        let far = doubts(vec![0, 65_535, 1], bright);
        assert!(far[0].contains("the label 2, 3, 4, 5, 6 or 65528 others up to 65534"), "{far:?}");
    }

    #[test]
    fn images_of_nearly_one_colour_are_noticed() {
        let labels = || (0..20).map(|n| n % 2).collect::<Vec<u32>>();
        let told = |level| {
            doubts(labels(), level).iter().any(|doubt| doubt.contains("nearly of one colour"))
        };
        assert!(told(|_, _| 0));
        assert!(told(|_, at| at as u8), "12 bits of 16");
        assert!(
            told(|n, at| if n == 7 { (at * 16) as u8 } else { 200 }),
            "one image is no sign of health"
        );
        assert!(!told(|n, at| if n % 5 == 0 { (at * 16) as u8 } else { 0 }), "four of five are");
        assert!(!told(|_, at| (at * 2) as u8));
    }
}
