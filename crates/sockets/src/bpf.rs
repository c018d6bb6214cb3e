//! `bpf(2)`: programs that the kernel runs for us, and memory that they share with us.

pub(crate) mod assembler;

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use assembler::Instruction;

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;

const MAP_TYPE_ARRAY: u32 = 2;
const MAP_MAPPABLE: u32 = 1 << 10;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const ATTACH_TCX_INGRESS: u32 = 46;

/// Bytes of the verifier's complaint; the end of it says what it is about.
const LOG_BYTES: usize = 64 * 1024;

/// `union bpf_attr` for `BPF_MAP_CREATE`, as far as we use it; the kernel takes what is missing for zero.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

/// The same for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The same for `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
}

/// The same for `BPF_LINK_CREATE` at a TCX hook.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    padding: u32,
    expected_revision: u64,
}

/// # Safety
/// `Attributes` has the layout that `command` reads, and every address in it points to memory that lives for the call and is
/// as long as the attributes say.
unsafe fn bpf<Attributes>(
    command: libc::c_int,
    attributes: &mut Attributes,
) -> io::Result<libc::c_int> {
    // SAFETY: as the caller promises; the kernel reads and writes no more than the size we give.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            mem::size_of::<Attributes>(),
        )
    };
    match result {
        0.. => Ok(result as libc::c_int),
        _ => Err(io::Error::last_os_error()),
    }
}

/// # Safety
/// As for [`bpf`]; `command` gives a new descriptor.
unsafe fn bpf_descriptor<Attributes>(
    command: libc::c_int,
    attributes: &mut Attributes,
) -> io::Result<OwnedFd> {
    // SAFETY: as the caller promises. The kernel has just made the descriptor, and nobody else knows it.
    unsafe { bpf(command, attributes).map(|raw| OwnedFd::from_raw_fd(raw)) }
}

/// An array of values that programs and this process both see.
pub(crate) struct SharedArray<Value> {
    descriptor: OwnedFd,
    memory: NonNull<Value>,
    length: usize,
}

/// A value that lies in memory which the kernel and several threads write at the same time.
///
/// # Safety
/// It consists of atomics alone, is valid when all of its bytes are zero, and its size is a multiple of eight.
pub(crate) unsafe trait Shared: Sync {}

// SAFETY: the values are only given out as shared references, and are made for that.
unsafe impl<Value: Shared> Send for SharedArray<Value> {}
// SAFETY: as above.
unsafe impl<Value: Shared> Sync for SharedArray<Value> {}

impl<Value: Shared> SharedArray<Value> {
    /// An array of zeroes.
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        let mut attributes = MapCreate {
            map_type: MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: mem::size_of::<Value>() as u32,
            max_entries: u32::try_from(length).map_err(io::Error::other)?,
            map_flags: MAP_MAPPABLE,
            map_name: name("strowger"),
            ..MapCreate::default()
        };
        // SAFETY: the attributes of this command hold no addresses.
        let descriptor = unsafe { bpf_descriptor(MAP_CREATE, &mut attributes)? };
        // SAFETY: a new mapping at a place of the kernel's choice, of a map that is as long.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length * mem::size_of::<Value>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                descriptor.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            descriptor,
            memory,
            length,
        })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        if index >= self.length {
            return None;
        }
        // SAFETY: the mapping is this long, lives as long as `self`, begins at a page and so is aligned, and any bytes are
        // atomics.
        Some(unsafe { self.memory.add(index).as_ref() })
    }
}

impl<Value> Drop for SharedArray<Value> {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and no reference to it outlives `self`.
        unsafe {
            libc::munmap(
                self.memory.as_ptr().cast(),
                self.length * mem::size_of::<Value>(),
            );
        }
    }
}

/// A program for packets that come in.
#[derive(Debug)]
pub(crate) struct Program(OwnedFd);

impl Program {
    /// Has the kernel check and take the program.
    pub(crate) fn load(code: &[Instruction]) -> io::Result<Self> {
        let license = CString::from(c"Apache-2.0");
        let mut log = Vec::new();
        let load = |log: &mut Vec<u8>| {
            let mut attributes = ProgLoad {
                prog_type: PROG_TYPE_SCHED_CLS,
                insn_cnt: code.len() as u32,
                insns: code.as_ptr() as u64,
                license: license.as_ptr() as u64,
                log_level: u32::from(!log.is_empty()),
                log_size: log.len() as u32,
                log_buf: match log.is_empty() {
                    true => 0,
                    false => log.as_mut_ptr() as u64,
                },
                prog_name: name("strowger"),
                expected_attach_type: ATTACH_TCX_INGRESS,
                ..ProgLoad::default()
            };
            // SAFETY: the instructions, the licence and the log live until the end of the call, and are as long as is said.
            unsafe { bpf_descriptor(PROG_LOAD, &mut attributes) }
        };
        let error = match load(&mut log) {
            Ok(program) => return Ok(Self(program)),
            Err(error) => error,
        };
        if error.raw_os_error() != Some(libc::EACCES) && error.raw_os_error() != Some(libc::EINVAL)
        {
            return Err(error);
        }
        // Once more, to hear why.
        log = vec![0; LOG_BYTES];
        if let Ok(program) = load(&mut log) {
            return Ok(Self(program));
        }
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        let log = String::from_utf8_lossy(&log[..end]);
        let lines: Vec<_> = log.trim_end().rsplitn(3, '\n').take(2).collect();
        match lines.is_empty() {
            true => Err(error),
            false => Err(io::Error::new(
                error.kind(),
                format!("{error}: {}", lines.concat()),
            )),
        }
    }

    /// Runs the program on a packet that begins with an Ethernet header; what it says, and what the packet is now.
    pub(crate) fn test_run(&self, packet: &[u8]) -> io::Result<(i32, Vec<u8>)> {
        let mut out = vec![0; packet.len() + 256];
        let mut attributes = TestRun {
            prog_fd: self.0.as_raw_fd() as u32,
            data_size_in: packet.len() as u32,
            data_size_out: out.len() as u32,
            data_in: packet.as_ptr() as u64,
            data_out: out.as_mut_ptr() as u64,
            repeat: 1,
            ..TestRun::default()
        };
        // SAFETY: both buffers live until the end of the call, and are as long as is said.
        unsafe { bpf(PROG_TEST_RUN, &mut attributes)? };
        out.truncate(attributes.data_size_out as usize);
        Ok((attributes.retval as i32, out))
    }

    /// Shows the program every packet that comes in by an interface, before anybody else sees it, until what is returned
    /// is dropped or the process ends.
    pub(crate) fn attach(&self, interface: u32) -> io::Result<OwnedFd> {
        let mut attributes = LinkCreate {
            prog_fd: self.0.as_raw_fd() as u32,
            target_ifindex: interface,
            attach_type: ATTACH_TCX_INGRESS,
            ..LinkCreate::default()
        };
        // SAFETY: the attributes of this command hold no addresses.
        unsafe { bpf_descriptor(LINK_CREATE, &mut attributes) }
    }
}

/// What tools that list programs and maps show.
fn name(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    // The last byte stays zero.
    for (to, from) in name[..15].iter_mut().zip(text.bytes()) {
        *to = from;
    }
    name
}
