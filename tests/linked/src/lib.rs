//! Models whose names are those of the system's libraries, beside code that needs those libraries; and a model of images that
//! do not fit a thread's stack.

macro_rules! models {
    ($($name:ident)*) => { $(
        /// A model.
        #[allow(missing_docs)]
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
        }
    )* };
}

models!(m c gcc_s z large);

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::thread;

    use super::*;

    /// The mathematics is in `libm`, threads and memory are in `libc`, and unwinding is in `libgcc_s`.
    #[test]
    fn the_systems_libraries_are_linked_too() {
        let angle = black_box(0.5f64);
        let waves = [angle.sin(), angle.tan(), angle.exp_m1(), angle.cbrt(), angle.atan2(2.0)];
        assert!(waves.iter().all(|wave| (0.2..0.8).contains(wave)), "{waves:?}");
        assert!(thread::spawn(|| std::panic::resume_unwind(Box::new(()))).join().is_err());
        let ones = [[1.0; m::IMAGE]];
        let tensors: [&[f32]; 2] = [&[1.0; 18], &[-1.0, 1.0]];
        let mut results = [[[0.0; m::OUTPUT]]; 4];
        let [in_m, in_c, in_gcc_s, in_z] = results.each_mut();
        m::Net::new(tensors).expect("any CPU").forward(&ones, in_m);
        c::Net::new(tensors).expect("any CPU").forward(&ones, in_c);
        gcc_s::Net::new(tensors).expect("any CPU").forward(&ones, in_gcc_s);
        z::Net::new(tensors).expect("any CPU").forward(&ones, in_z);
        // Four pixels of nine neighbours, eight of six and four of four.
        let mean = (4.0 * 9.0 + 8.0 * 6.0 + 4.0 * 4.0) / 16.0;
        assert_eq!(results, [[[mean - 1.0, mean + 1.0]]; 4]);
    }

    /// An image is 3 MiB.
    #[test]
    fn large_images_need_no_stack() {
        let threads = thread::Builder::new().stack_size(256 << 10);
        let results = threads.spawn(|| {
            let pixels = large::IMAGE / 3;
            let bytes: Vec<u8> =
                (0..2 * large::IMAGE).map(|at| [0, 255, 0][at / pixels % 3]).collect();
            let mut images = vec![0.0; bytes.len()];
            large::normalise_into(&bytes, &mut images);
            let mut results = [[0.0; large::OUTPUT]; 2];
            large::Net::new().expect("any CPU").forward(images.as_chunks().0, &mut results);
            results
        });
        let results = results.expect("a thread").join().expect("an answer");
        assert_eq!(results, [[0.0, 1.0, 0.0]; 2]);
    }
}
