//! Writes eBPF, an instruction a method. See the kernel's `Documentation/bpf/standardization/instruction-set.rst`.
//!
//! A compiler for C would be a hundred megabytes more that everybody needs to build the switch, for one program of a
//! hundred and some instructions.

use std::os::fd::RawFd;

/// One instruction as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Instruction {
    code: u8,
    /// The destination in the lower half, the source in the upper.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A register. `R0` has results, `R1` to `R5` arguments, which a call loses; `R6` to `R9` stay; `R10` is the end of the
/// stack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How much a load or a store moves.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Width {
    Bits32 = 0x00,
    Bits16 = 0x08,
    Bits8 = 0x10,
    Bits64 = 0x18,
}

/// What is calculated. Numbers have no sign.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Operation {
    Add = 0x00,
    Subtract = 0x10,
    Multiply = 0x20,
    Divide = 0x30,
    And = 0x50,
    ShiftRight = 0x70,
    Xor = 0xa0,
    Move = 0xb0,
}

/// When a jump is taken: the destination is this to the source.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Condition {
    Equal = 0x10,
    Greater = 0x20,
    AtLeast = 0x30,
    SharesBits = 0x40,
    Differs = 0x50,
    /// With a sign, in 32 bits.
    SignedAtLeast = 0x70,
    Less = 0xa0,
}

/// A place to jump to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label(usize);

const LOAD_IMMEDIATE_64: u8 = 0x18;
const LOAD: u8 = 0x61;
const STORE: u8 = 0x63;
const ATOMIC: u8 = 0xc3;
const ALU_32: u8 = 0x04;
const ALU_64: u8 = 0x07;
const JUMP: u8 = 0x05;
const JUMP_32: u8 = 0x06;
const WITH_REGISTER: u8 = 0x08;
const TO_BIG_ENDIAN: u8 = 0xdc;
const NEGATE_32: u8 = 0x84;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const EXCHANGE: i32 = 0xe1;
const COMPARE_AND_EXCHANGE: i32 = 0xf1;
/// Mark of a register half that the immediate is the descriptor of a map.
const MAP_DESCRIPTOR: u8 = 1;

/// A program that is being written.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    code: Vec<Instruction>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub(crate) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    fn emit(&mut self, code: u8, to: Register, from: u8, offset: i16, immediate: i32) {
        self.code.push(Instruction {
            code,
            registers: from << 4 | to as u8,
            offset,
            immediate,
        });
    }

    pub(crate) fn load(&mut self, width: Width, to: Register, at: Register, offset: i16) {
        self.emit(LOAD | width as u8, to, at as u8, offset, 0);
    }

    pub(crate) fn store(&mut self, width: Width, at: Register, offset: i16, from: Register) {
        self.emit(STORE | width as u8, at, from as u8, offset, 0);
    }

    pub(crate) fn with(&mut self, operation: Operation, to: Register, from: Register) {
        let code = ALU_64 | WITH_REGISTER | operation as u8;
        self.emit(code, to, from as u8, 0, 0);
    }

    pub(crate) fn with_number(&mut self, operation: Operation, to: Register, number: i32) {
        self.emit(ALU_64 | operation as u8, to, 0, 0, number);
    }

    /// In 32 bits; the upper half becomes zero.
    pub(crate) fn with_32(&mut self, operation: Operation, to: Register, from: Register) {
        let code = ALU_32 | WITH_REGISTER | operation as u8;
        self.emit(code, to, from as u8, 0, 0);
    }

    /// The number with the opposite sign, in 32 bits.
    pub(crate) fn negate_32(&mut self, to: Register) {
        self.emit(NEGATE_32, to, 0, 0, 0);
    }

    /// Between the order of this machine and that of the network.
    pub(crate) fn network_order(&mut self, to: Register, bits: i32) {
        self.emit(TO_BIG_ENDIAN, to, 0, 0, bits);
    }

    pub(crate) fn map(&mut self, to: Register, descriptor: RawFd) {
        self.emit(LOAD_IMMEDIATE_64, to, MAP_DESCRIPTOR, 0, descriptor);
        self.emit(0, Register::R0, 0, 0, 0);
    }

    /// Puts the register into 32 bits of memory, if `R0` is there; `R0` becomes what was.
    pub(crate) fn compare_and_exchange(&mut self, at: Register, offset: i16, new: Register) {
        self.emit(ATOMIC, at, new as u8, offset, COMPARE_AND_EXCHANGE);
    }

    /// Puts the register into 32 bits of memory, after everything that was written before.
    pub(crate) fn exchange(&mut self, at: Register, offset: i16, new: Register) {
        self.emit(ATOMIC, at, new as u8, offset, EXCHANGE);
    }

    pub(crate) fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(JUMP, Register::R0, 0, 0, 0);
    }

    pub(crate) fn jump_if(&mut self, a: Register, is: Condition, b: Register, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(JUMP | WITH_REGISTER | is as u8, a, b as u8, 0, 0);
    }

    pub(crate) fn jump_if_number(&mut self, a: Register, is: Condition, number: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        let class = match is {
            Condition::SignedAtLeast => JUMP_32,
            _ => JUMP,
        };
        self.emit(class | is as u8, a, 0, 0, number);
    }

    pub(crate) fn call(&mut self, helper: i32) {
        self.emit(CALL, Register::R0, 0, 0, helper);
    }

    pub(crate) fn exit(&mut self) {
        self.emit(EXIT, Register::R0, 0, 0, 0);
    }

    /// The program, with all jumps resolved.
    ///
    /// # Panics
    /// If a label was never placed: a mistake in the program, which every test that loads it finds.
    pub(crate) fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].expect("every label is placed");
            self.code[at].offset = (target as isize - at as isize - 1) as i16;
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_encoded_as_the_kernel_has_them() {
        let mut code = Assembler::default();
        let end = code.label();
        code.with_number(Operation::Move, Register::R0, -1);
        code.load(Width::Bits16, Register::R1, Register::R6, 20);
        code.jump_if_number(Register::R1, Condition::Differs, 8, end);
        code.store(Width::Bits64, Register::R10, -8, Register::R0);
        code.compare_and_exchange(Register::R9, 0, Register::R1);
        code.place(end);
        code.exit();
        let bytes: Vec<_> = code
            .finish()
            .iter()
            .map(|it| (it.code, it.registers, it.offset, it.immediate))
            .collect();
        assert_eq!(
            bytes,
            [
                (0xb7, 0x00, 0, -1),
                (0x69, 0x61, 20, 0),
                (0x55, 0x01, 2, 8),
                (0x7b, 0x0a, -8, 0),
                (0xc3, 0x19, 0, 0xf1),
                (0x95, 0x00, 0, 0),
            ]
        );
    }
}
