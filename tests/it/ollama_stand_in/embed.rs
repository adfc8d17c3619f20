//! Vectors in which texts that share words lie close together.

/// As nomic-embed-text's.
pub(super) const DIMENSIONS: usize = 768;

/// One vector, of length 1.
pub(super) fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.001_f32; DIMENSIONS];
    for word in text.to_lowercase().split(|sign: char| !sign.is_alphanumeric()).filter(|word| !word.is_empty()) {
        // FNV-1a: the same word gives the same place in every run.
        let hash = word
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        vector[usize::try_from(hash % 768).expect("a small number")] += 1.0;
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter().map(|value| value / length).collect()
}
