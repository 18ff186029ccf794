//! Matrix products of the trainer, single-threaded: one window on the `gemm` crate.
//!
//! Training multiplies hundreds of rows at a time, the regime that `gemm` is made for (decoding,
//! with its one to eight rows, has kernels of its own).

/// A matrix to read: element (r, c) is `data[r * row_stride + c * col_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `cols` neighbouring elements, `stride` apart.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(rows == 0 || (rows - 1) * stride + cols <= data.len(), "matrix leaves its slice");
        Self { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// `data` as rows of `cols` elements without gaps.
    pub(crate) fn dense(data: &'a [f32], cols: usize) -> Self {
        Self::new(data, data.len() / cols, cols, cols)
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// What becomes of the values that were in the output.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Write {
    /// They are overwritten.
    Replace,
    /// The product is added to them.
    Add,
}

/// `out = scale * a * b` or `out += scale * a * b`; rows of `out` are `stride` apart.
pub(crate) fn multiply(
    out: &mut [f32],
    stride: usize,
    mode: Write,
    scale: f32,
    a: Matrix,
    b: Matrix,
) {
    assert_eq!(a.cols, b.rows, "inner sizes differ");
    let (m, n) = (a.rows, b.cols);
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * stride + n <= out.len() && n <= stride, "output leaves its slice");
    // SAFETY: `Matrix` and the assertions above keep every element that gemm reads or writes inside
    // its slice, and `out` is borrowed exclusively, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            m,
            n,
            a.cols,
            out.as_mut_ptr(),
            1,
            stride as isize,
            mode == Write::Add,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `out = x * weight^T` with `weight` of shape [out_cols, in_cols], as linear layers store it.
pub(crate) fn linear(out: &mut [f32], x: &[f32], weight: &[f32], inputs: usize, mode: Write) {
    let outputs = weight.len() / inputs;
    multiply(out, outputs, mode, 1.0, Matrix::dense(x, inputs), Matrix::dense(weight, inputs).t());
}

/// Gradients of [`linear`]: `d_x = d_out * weight` and, where they are wanted,
/// `d_weight += d_out^T * x`.
pub(crate) fn linear_back(
    d_x: &mut [f32],
    d_weight: Option<&mut [f32]>,
    d_out: &[f32],
    x: &[f32],
    weight: &[f32],
    inputs: usize,
) {
    let outputs = weight.len() / inputs;
    let d_out = Matrix::dense(d_out, outputs);
    multiply(d_x, inputs, Write::Replace, 1.0, d_out, Matrix::dense(weight, inputs));
    if let Some(d_weight) = d_weight {
        multiply(d_weight, inputs, Write::Add, 1.0, d_out.t(), Matrix::dense(x, inputs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without pattern.
    fn noise(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5).collect()
    }

    /// The definition, in f64.
    fn naive(a: &Matrix, b: &Matrix, row: usize, col: usize) -> f64 {
        let at = |m: &Matrix, r, c| f64::from(m.data[r * m.row_stride + c * m.col_stride]);
        (0..a.cols).map(|i| at(a, row, i) * at(b, i, col)).sum()
    }

    /// source: the definition of the matrix product, over strides, transposes and both ways of
    /// writing.
    #[test]
    fn products_equal_the_definition() {
        let (x, w) = (noise(40 * 50, 1), noise(40 * 50, 2));
        let cases = [
            (Matrix::new(&x, 33, 17, 50), Matrix::new(&w, 17, 21, 30)),
            (Matrix::new(&x, 33, 17, 50), Matrix::new(&w, 21, 17, 17).t()),
            (Matrix::new(&x, 17, 9, 20).t(), Matrix::new(&w, 17, 21, 30)),
            (Matrix::new(&x, 1, 17, 17), Matrix::new(&w, 17, 1, 1)),
        ];
        for (a, b) in cases {
            for mode in [Write::Replace, Write::Add] {
                let mut out = vec![1.0; a.rows * 25];
                multiply(&mut out, 25, mode, 0.5, a, b);
                for (i, value) in out.iter().enumerate() {
                    let (row, col) = (i / 25, i % 25);
                    let before = if mode == Write::Add || col >= b.cols { 1.0 } else { 0.0 };
                    let product = if col < b.cols { naive(&a, &b, row, col) } else { 0.0 };
                    let error = f64::from(*value) - before - 0.5 * product;
                    assert!(error.abs() < 1e-5, "{row} {col}: {error}");
                }
            }
        }
    }
}
