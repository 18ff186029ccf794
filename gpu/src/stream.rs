//! Calls on their way to the device: recorded, then submitted as one command buffer.

use crate::shader::Shader;
use crate::{Buffer, Error, Gpu, Result, check};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor,
    BindGroupLayoutEntry, BindingType, BufferBindingType, BufferDescriptor, BufferUsages,
    CommandEncoder, CommandEncoderDescriptor, ComputePassDescriptor, ComputePipeline,
    ComputePipelineDescriptor, MapMode, PipelineCompilationOptions, PipelineLayoutDescriptor,
    PollType, QuerySet, QuerySetDescriptor, QueryType, ShaderModuleDescriptor, ShaderRuntimeChecks,
    ShaderSource, ShaderStages,
};

/// Points in time that can be marked before they are read.
const MARKS: u32 = 2048;
/// Bytes that are written before the device is waited for: they lie in the host's memory until
/// then.
const WRITTEN: usize = 64 << 20;
/// Sets of operands that are remembered; a pass of one width has some hundreds.
const GROUPS: usize = 1 << 15;

/// One operation on its operands.
pub(crate) struct Call<'c> {
    pub shader: Shader,
    pub read: &'c [&'c Buffer],
    pub written: &'c [&'c Buffer],
    /// As its WGSL lays them out.
    pub sizes: &'c [u32],
    /// Groups of lanes.
    pub groups: [usize; 3],
}

/// What a device is still to do, and what makes it quick to ask.
#[derive(Debug)]
pub(crate) struct Stream {
    pending: Mutex<Pending>,
    pipelines: Mutex<HashMap<Shader, Arc<Pipeline>>>,
    groups: Mutex<HashMap<(Shader, Vec<u64>), BindGroup>>,
    clock: Option<Clock>,
}

#[derive(Debug, Default)]
struct Pending {
    steps: Vec<Step>,
    /// Bytes written since the device was waited for.
    written: usize,
    /// Marks made since they were read.
    marks: u32,
}

#[derive(Debug)]
enum Step {
    Call { pipeline: Arc<Pipeline>, group: BindGroup, sizes: Vec<u8>, groups: [u32; 3] },
    Copy { from: Piece, into: Piece, bytes: u64 },
    Mark(u32),
}

/// A buffer from a byte on.
type Piece = (Buffer, u64);

#[derive(Debug)]
struct Pipeline {
    layout: BindGroupLayout,
    made: ComputePipeline,
}

#[derive(Debug)]
struct Clock {
    queries: QuerySet,
    times: wgpu::Buffer,
    /// Nanoseconds of a tick.
    tick: f32,
}

impl Stream {
    /// Nothing to do; marks take as many nanoseconds a tick as `tick` says, if it can mark.
    pub(crate) fn new(device: &wgpu::Device, tick: Option<f32>) -> Self {
        let clock = tick.map(|tick| Clock {
            queries: device.create_query_set(&QuerySetDescriptor {
                label: None,
                ty: QueryType::Timestamp,
                count: MARKS,
            }),
            times: device.create_buffer(&BufferDescriptor {
                label: None,
                size: u64::from(MARKS) * 8,
                usage: BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }),
            tick,
        });
        Self {
            pending: Mutex::default(),
            pipelines: Mutex::default(),
            groups: Mutex::default(),
            clock,
        }
    }
}

impl Step {
    fn is_copy(&self) -> bool {
        matches!(self, Self::Copy { .. })
    }
}

fn copy_all(encoder: &mut CommandEncoder, steps: &[Step]) {
    for step in steps {
        if let Step::Copy { from: (from, read), into: (into, written), bytes } = step {
            let (from, into) = (from.memory(), into.memory());
            encoder.copy_buffer_to_buffer(from, *read, into, *written, Some(*bytes));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    /// Records a call.
    pub(crate) fn call(&self, call: &Call<'_>) -> Result<()> {
        let pipeline = self.pipeline(call)?;
        let group = self.group(call, &pipeline.layout);
        let sizes = bytemuck::cast_slice(call.sizes).to_vec();
        let groups = call.groups.map(|count| count as u32);
        lock(&self.stream.pending).steps.push(Step::Call { pipeline, group, sizes, groups });
        Ok(())
    }

    /// Marks this point of what is recorded, to be timed; nothing where the adapter tells no time.
    ///
    /// # Errors
    /// When too many are marked that nobody has read.
    pub fn mark(&self) -> Result<()> {
        let mut pending = lock(&self.stream.pending);
        if self.stream.clock.is_none() {
            return Ok(());
        }
        if pending.marks == MARKS {
            return Err(Error::Shape(format!("more than {MARKS} marks that nobody has read")));
        }
        let mark = pending.marks;
        pending.marks += 1;
        pending.steps.push(Step::Mark(mark));
        Ok(())
    }

    /// Seconds of the marks since this was last called, from the first of them on; waits for the
    /// device.
    ///
    /// # Errors
    /// When the device is lost or has refused a call.
    pub fn times(&self) -> Result<Vec<f64>> {
        self.submit();
        let marks = std::mem::take(&mut lock(&self.stream.pending).marks);
        let Some(clock) = self.stream.clock.as_ref().filter(|_| marks > 0) else {
            return Ok(Vec::new());
        };
        let bytes = self.read_memory(&clock.times, u64::from(marks) * 8, |encoder| {
            encoder.resolve_query_set(&clock.queries, 0..marks, &clock.times, 0);
        })?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let first = ticks.first().copied().unwrap_or(0);
        let tick = s3d_data::Seconds::from_nanoseconds(f64::from(clock.tick)).0;
        Ok(ticks.iter().map(|&at| at.saturating_sub(first) as f64 * tick).collect())
    }

    /// Writes bytes into a buffer, after all that was recorded before.
    pub(crate) fn write(&self, buffer: &Buffer, at: u64, bytes: &[u8]) {
        self.submit();
        // A write of whole buffers of any size would hold as much of the host's memory.
        for (i, piece) in bytes.chunks(WRITTEN).enumerate() {
            self.queue.write_buffer(buffer.memory(), at + (i * WRITTEN) as u64, piece);
            let full = {
                let mut pending = lock(&self.stream.pending);
                pending.written += piece.len();
                pending.written >= WRITTEN && std::mem::take(&mut pending.written) > 0
            };
            if full {
                self.queue.submit([]);
                let _ = self.device.poll(PollType::wait_indefinitely());
            }
        }
    }

    /// Copies blocks of `size` bytes, a multiple of 4, from one number to another, after all that
    /// was recorded before.
    pub(crate) fn copy_blocks(
        &self,
        from: &Buffer,
        into: &Buffer,
        size: usize,
        places: &[[usize; 2]],
    ) {
        for place in places {
            let [read, written] = place.map(|number| (number * size) as u64);
            self.copy((from, read), (into, written), size as u64);
        }
        // Large pieces are copied here, which are to be free again.
        self.submit();
    }

    /// Records a copy of `bytes`, a multiple of 4, from one buffer to another.
    pub(crate) fn copy(
        &self,
        (from, read): (&Buffer, u64),
        (into, written): (&Buffer, u64),
        bytes: u64,
    ) {
        let (from, into) = ((from.clone(), read), (into.clone(), written));
        lock(&self.stream.pending).steps.push(Step::Copy { from, into, bytes });
    }

    /// Reads bytes of a buffer: submits what is recorded, and waits.
    pub(crate) fn read(&self, buffer: &Buffer, bytes: u64) -> Result<Vec<u8>> {
        self.submit_and(|_| ());
        self.read_memory(buffer.memory(), bytes, |_| ())
    }

    /// Has all done that was recorded.
    ///
    /// # Errors
    /// When the device is lost or has refused a call.
    pub fn wait(&self) -> Result<()> {
        self.submit();
        let waited = self.device.poll(PollType::wait_indefinitely());
        self.sound()?;
        waited.map(drop).map_err(|e| Error::Lost(e.to_string()))
    }

    /// Submits what is recorded, without waiting.
    pub(crate) fn submit(&self) {
        self.submit_and(|_| ());
    }

    fn submit_and(&self, last: impl FnOnce(&mut CommandEncoder)) {
        let dead = std::mem::take(&mut *lock(&self.books.dead));
        if !dead.is_empty() {
            let living = |ids: &[u64]| !ids.iter().any(|id| dead.contains(id));
            lock(&self.stream.groups).retain(|(_, ids), _| living(ids));
        }
        // Held until they are submitted: another thread that finds nothing to submit may rely on
        // it.
        let mut pending = lock(&self.stream.pending);
        let steps = std::mem::take(&mut pending.steps);
        if steps.is_empty() {
            return;
        }
        let mut encoder = self.device.create_command_encoder(&CommandEncoderDescriptor::default());
        for steps in steps.chunk_by(|a, b| a.is_copy() == b.is_copy()) {
            if steps[0].is_copy() {
                copy_all(&mut encoder, steps);
            } else {
                self.compute(&mut encoder, steps);
            }
        }
        last(&mut encoder);
        self.queue.submit([encoder.finish()]);
        drop(pending);
    }

    /// One compute pass of calls and marks.
    fn compute(&self, encoder: &mut CommandEncoder, steps: &[Step]) {
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
        for step in steps {
            match (step, &self.stream.clock) {
                (Step::Call { pipeline, group, sizes, groups: [x, y, z] }, _) => {
                    pass.set_pipeline(&pipeline.made);
                    pass.set_bind_group(0, group, &[]);
                    pass.set_immediates(0, sizes);
                    pass.dispatch_workgroups(*x, *y, *z);
                }
                (Step::Mark(mark), Some(clock)) => pass.write_timestamp(&clock.queries, *mark),
                (Step::Mark(_) | Step::Copy { .. }, _) => (),
            }
        }
    }

    fn read_memory(
        &self,
        memory: &wgpu::Buffer,
        bytes: u64,
        first: impl FnOnce(&mut CommandEncoder),
    ) -> Result<Vec<u8>> {
        let into = self.device.create_buffer(&BufferDescriptor {
            label: None,
            size: bytes.next_multiple_of(4),
            usage: BufferUsages::COPY_DST | BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&CommandEncoderDescriptor::default());
        first(&mut encoder);
        encoder.copy_buffer_to_buffer(memory, 0, &into, 0, into.size());
        self.queue.submit([encoder.finish()]);
        let slice = into.slice(..);
        slice.map_async(MapMode::Read, |_| ());
        let waited = self.device.poll(PollType::wait_indefinitely());
        self.sound()?;
        waited.map_err(|e| Error::Lost(e.to_string()))?;
        let view = slice.get_mapped_range().map_err(|e| Error::Lost(e.to_string()))?;
        Ok(view[..bytes as usize].to_vec())
    }

    fn group(&self, call: &Call<'_>, layout: &BindGroupLayout) -> BindGroup {
        let buffers = || call.read.iter().chain(call.written);
        let key = (call.shader, buffers().map(|buffer| buffer.id()).collect());
        let mut groups = lock(&self.stream.groups);
        if groups.len() >= GROUPS {
            groups.clear();
        }
        let make = || {
            let entries: Vec<BindGroupEntry<'_>> = (0..)
                .zip(buffers())
                .map(|(binding, buffer)| BindGroupEntry {
                    binding,
                    resource: buffer.memory().as_entire_binding(),
                })
                .collect();
            let wanted = BindGroupDescriptor { label: None, layout, entries: &entries };
            self.device.create_bind_group(&wanted)
        };
        groups.entry(key).or_insert_with(make).clone()
    }

    fn pipeline(&self, call: &Call<'_>) -> Result<Arc<Pipeline>> {
        if let Some(found) = lock(&self.stream.pipelines).get(&call.shader) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(self.make(call));
        self.sound()?;
        lock(&self.stream.pipelines).insert(call.shader, Arc::clone(&made));
        if let Shader::MatMul { dtype, rows, add: false } = call.shader {
            check::agrees(self, dtype, rows)?;
        }
        Ok(made)
    }

    fn make(&self, call: &Call<'_>) -> Pipeline {
        let written = call.read.len()..call.read.len() + call.written.len();
        let entry = |binding: usize| BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: ShaderStages::COMPUTE,
            ty: BindingType::Buffer {
                ty: BufferBindingType::Storage { read_only: binding < written.start },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let entries: Vec<BindGroupLayoutEntry> = (0..written.end).map(entry).collect();
        let layout = BindGroupLayoutDescriptor { label: None, entries: &entries };
        let layout = self.device.create_bind_group_layout(&layout);
        let whole = self.device.create_pipeline_layout(&PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: size_of_val(call.sizes) as u32,
        });
        let text = ShaderModuleDescriptor {
            label: None,
            source: ShaderSource::Wgsl(call.shader.source(self.lanes).into()),
        };
        let mut checks = ShaderRuntimeChecks::checked();
        checks.force_loop_bounding = false;
        // SAFETY: every loop of the WGSL counts up to a constant or to a size, and ends.
        let module = unsafe { self.device.create_shader_module_trusted(text, checks) };
        let made = self.device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: None,
            layout: Some(&whole),
            module: &module,
            entry_point: Some("main"),
            compilation_options: PipelineCompilationOptions::default(),
            cache: None,
        });
        Pipeline { layout, made }
    }
}
