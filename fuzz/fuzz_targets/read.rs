//! Every reader, by libFuzzer. The first byte chooses the format, so that one corpus serves all.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((choice, bytes)) = data.split_first() {
        let name = aegis_fuzz::NAMES[usize::from(*choice) % aegis_fuzz::NAMES.len()];
        aegis_fuzz::read(name, bytes);
    }
});
