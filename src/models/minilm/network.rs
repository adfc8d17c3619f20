//! The network itself: tokens in, vectors of length 1 out. Formula of the model's card: the mean of
//! `last_hidden_state` over the tokens that the mask keeps, then L2-normalised.

use rten::{Model, NodeId, RunOptions};
use rten_tensor::{NdTensor, prelude::*};

/// Numbers in a vector.
pub(super) const DIMENSIONS: usize = 384;

static NETWORK: &[u8] = include_bytes!(concat!(env!("AEGIS_PACK"), "/minilm.onnx"));

/// The loaded network.
pub(super) struct Network {
    model: Model,
    ids: NodeId,
    mask: NodeId,
    types: NodeId,
    hidden: NodeId,
}

impl Network {
    /// Reads the network out of this binary.
    pub(super) fn load() -> Result<Self, super::Failure> {
        let model = Model::load_static_slice(NETWORK)?;
        Ok(Self {
            ids: model.node_id("input_ids")?,
            mask: model.node_id("attention_mask")?,
            types: model.node_id("token_type_ids")?,
            hidden: model.node_id("last_hidden_state")?,
            model,
        })
    }

    /// Embeds a few texts at once. Shorter ones are padded to the longest, so give it texts of like length.
    pub(super) fn embed(&self, batch: &[&[i32]], options: &RunOptions) -> Result<Vec<Vec<f32>>, super::Failure> {
        let (rows, columns) = (batch.len(), batch.iter().map(|tokens| tokens.len()).max().unwrap_or(0));
        let token = |row: usize, column: usize| batch[row].get(column).copied();
        let ids = NdTensor::from_fn([rows, columns], |[row, column]| token(row, column).unwrap_or(0));
        let mask = NdTensor::from_fn([rows, columns], |[row, column]| i32::from(token(row, column).is_some()));
        let types = NdTensor::<i32, 2>::zeros([rows, columns]);
        let inputs = vec![(self.ids, ids.into()), (self.mask, mask.into()), (self.types, types.into())];
        let [hidden] = self.model.run_n(inputs, [self.hidden], Some(options.clone()))?;
        let hidden: NdTensor<f32, 3> = hidden.try_into()?;
        let hidden = hidden.data().ok_or("the network's output is not in one piece")?;
        let rows = hidden.chunks_exact(columns * DIMENSIONS).zip(batch);
        Ok(rows.map(|(row, tokens)| mean(row, tokens.len())).collect())
    }
}

/// The mean of a text's first `tokens` states; the rest of the row is padding.
fn mean(row: &[f32], tokens: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f32; DIMENSIONS];
    for state in row.chunks_exact(DIMENSIONS).take(tokens) {
        for (sum, value) in sum.iter_mut().zip(state) {
            *sum += value;
        }
    }
    super::super::embedding::normalise(&mut sum);
    sum
}
