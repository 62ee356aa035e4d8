"""Machine code by LLVM: :class:`Instructions` writes a function, :func:`assembled` compiles it."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from typing import Any

_X86 = {"x86_64", "amd64"}


def is_possible() -> bool:
    """Return whether code can be made here, for a kind of processor that was measured."""
    return is_measured() and has_llvm()


def is_measured() -> bool:
    """Return whether this is a kind of processor on which compiled code was measured."""
    return platform.machine().lower() in _X86


def has_llvm() -> bool:
    """Return whether llvmlite is installed and can be loaded."""
    try:
        import llvmlite.binding  # noqa: F401
    except (ImportError, OSError):
        # Too new a Python, perhaps.
        return False
    return True


def host_has(feature: str) -> bool:
    """Return whether this processor has what LLVM calls *feature*."""
    import llvmlite.binding as llvm

    return bool(llvm.get_host_cpu_features().get(feature))


class Instructions:
    """Writes instructions at the end of an LLVM *function* that has no code yet."""

    def __init__(self, function: Any) -> None:
        from llvmlite import ir

        self.builder = ir.IRBuilder(function.append_basic_block("start"))
        self.index = ir.IntType(64)

    def function(self, name: str, kind: Any) -> Any:
        """Return the function *name* of LLVM's own, declared once in the module."""
        from llvmlite import ir

        module = self.builder.module
        return module.globals.get(name) or ir.Function(module, kind, name)

    def number(self, value: Any) -> Any:
        """Return *value* as an operand."""
        return self.index(value) if isinstance(value, int) else value

    def sum(self, *values: Any) -> Any:
        """Return the sum of whole numbers."""
        total, *rest = (self.number(value) for value in values)
        for value in rest:
            total = self.builder.add(total, value)
        return total

    def product(self, *values: Any) -> Any:
        """Return the product of whole numbers."""
        total, *rest = (self.number(value) for value in values)
        for value in rest:
            total = self.builder.mul(total, value)
        return total

    def divide(self, value: Any, by: Any) -> tuple[Any, Any]:
        """Return quotient and remainder of whole numbers."""
        by = self.number(by)
        return self.builder.udiv(value, by), self.builder.urem(value, by)

    def least(self, a: Any, b: Any) -> Any:
        """Return the smaller of two whole numbers."""
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    @contextlib.contextmanager
    def loop(self, stop: Any, step: Any = 1) -> Iterator[Any]:
        """Write a loop that counts from 0 to below *stop*; the block writes its body."""
        builder = self.builder
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(self.index)
        index.add_incoming(self.index(0), before)
        builder.cbranch(builder.icmp_signed("<", index, self.number(stop)), body, after)
        builder.position_at_end(body)
        yield index
        index.add_incoming(self.sum(index, step), builder.block)
        builder.branch(head)
        builder.position_at_end(after)

    def at(self, pointer: Any, *steps: Any) -> Any:
        """Return *pointer* moved by the sum of *steps*."""
        return self.builder.gep(pointer, [self.sum(*steps)])


def assembled(module: Any, processor: str = "", *, rewritten: bool = True) -> Any:
    """Return the machine code of an LLVM *module*: an engine, which owns it.

    Args:
        module: of LLVM's instructions.
        processor: LLVM's name of the kind of processor to make code for; empty for this one,
            with all that it has.
        rewritten: whether LLVM improves the instructions first, which takes as long again.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = "" if processor else llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=processor or llvm.get_host_cpu_name(), features=features, opt=3
    )
    module.triple = machine.triple
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    if rewritten:
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(2))
        builder.getModulePassManager().run(parsed, builder)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    return engine
