//! A product with a matrix that is not trained. candle's own product computes the gradient of both
//! of its operands, and keeps it: for frozen weights as many bytes as they have themselves, and a
//! third of the time.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// `x[rows, inputs]` times a constant `[inputs, outputs]`.
pub(crate) struct FrozenMatmul;

fn multiply<S: BackendStorage>(x: &S, of_x: &Layout, y: &S, of_y: &Layout) -> Result<(S, Shape)> {
    let ((rows, inputs), (_, outputs)) = (of_x.shape().dims2()?, of_y.shape().dims2()?);
    let product = x.matmul(y, (1, rows, outputs, inputs), of_x, of_y)?;
    Ok((product, Shape::from((rows, outputs))))
}

impl CustomOp2 for FrozenMatmul {
    fn name(&self) -> &'static str {
        "frozen-matmul"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        y: &CpuStorage,
        of_y: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        multiply(x, of_x, y, of_y)
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        of_x: &Layout,
        y: &CudaStorage,
        of_y: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        multiply(x, of_x, y, of_y)
    }

    fn bwd(
        &self,
        _: &Tensor,
        matrix: &Tensor,
        _: &Tensor,
        of_product: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(of_product.matmul(&matrix.t()?)?), None))
    }
}
