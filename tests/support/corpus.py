"""A corpus of functions that load the globals `first` and `second` in many ways and places."""

from collections.abc import Iterator

EXPRESSIONS = {
    "load": "first",
    "call": "first(1)",
    "call with keywords": "second(1, k=first)",
    "call with stars": "second(*[first], **{'k': second})",
    "argument": "second(first)",
    "last argument": "len([1, first, second])",
    "method": "first.method(second)",
    "attribute": "first.value",
    "item": "first[second]",
    "operation": "first + 1",
    "sum": "[1, 2, 3 + first.value]",
    "comparison": "first < second",
    "identity": "first is not second",
    "not": "not first",
    "and": "first and second",
    "or": "(not first) or second",
    "ternary": "(first if second else 1)",
    "text": "f'{first!r} {second:>3}'",
    "tuple": "(first, (second, first))",
    "dictionary": "{'a': first, **{'b': second}}",
    "list comprehension": "[first(x) for x in range(3) if second]",
    "generator expression": "list(second(x) for x in [first, 2])",
    "lambda": "(lambda a, b=1: first(a + b))(1)",
    "walrus": "(local := first)(2)",
    "nested": "second(first(second(first(1))))",
}

STATEMENTS = {
    "return": "return {e}",
    "expression": "{e}\nreturn 1",
    "assignment": "a, *b = 1, {e}, 2\nreturn a, b",
    "for": "for i in range(3):\n    log({e})\nelse:\n    log('else')",
    "for over it": "for i in [{e}, 1]:\n    log(i)",
    "while": "n = 0\nwhile n < 3:\n    n += 1\n    if n == 1:\n        continue\n    log({e})",
    "nested loops": "for i in range(2):\n    for j in range(2):\n        if j:\n            break\n"
    "        log(i, {e})",
    "try": "try:\n    log({e})\nexcept ValueError as error:\n    log(repr(error))\n    return 3\n"
    "else:\n    return 4",
    "try name error": "try:\n    return {e}\nexcept NameError as error:\n    return repr(error)",
    "handler": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    log({e})\n    raise",
    "finally": "try:\n    return {e}\nfinally:\n    log('finally')",
    "in finally": "try:\n    return 1\nfinally:\n    log({e})",
    "finally in a loop": "for i in range(3):\n    try:\n        if i == 1:\n            continue\n"
    "        log({e})\n    finally:\n        log('finally', i)",
    "nested try": "try:\n    try:\n        log({e})\n    except KeyError:\n        log('no')\n"
    "    finally:\n        log('inner', {e})\nexcept BaseException as e:\n    log(repr(e))\n"
    "    raise",
    "with": "with manager(1):\n    log({e})\nreturn 5",
    "with it": "with manager({e}) as x, manager(2):\n    return x",
    "with that swallows": "with manager(swallow=True):\n    log({e})\nreturn 'swallowed'",
    "with in a loop": "for i in range(2):\n    with manager(i):\n        if i:\n            break\n"
    "        log({e})",
    "if": "if {e}:\n    return 1\nelif first:\n    return 2",
    "match": "match {e}:\n    case 1 | 2:\n        return 1\n    case [x, *rest] if second:\n"
    "        return x, rest\n    case _:\n        return first",
    "raise": "raise ValueError({e})",
    "assert": "assert {e} != 12345, second",
    "closure": "def inner():\n    return {e}, outer\nouter = 7\nreturn inner()",
    "recursion": "if depth < 3:\n    return f(depth + 1), {e}\nreturn depth",
    "deletion": "a = [1, 2, {e}]\ndel a[0]\nreturn a",
    "yield": "yield 1\nx = yield {e}\nlog(x)\nyield second",
    "yield from": "yield from [1, {e}]\nreturn 2",
    "yield in try": "try:\n    yield {e}\n    yield 2\nfinally:\n    log('closed')",
    "many locals": "".join(f"a{n} = {n}\n" for n in range(300)) + "return a17, a299, {e}",
    "long jump": "for i in range(2):\n" + "    log(i)\n" * 120 + "    log({e})",
}

ASYNC_STATEMENTS = {
    "await": "await step(1)\nreturn {e}",
    "async with": "async with manager(1) as x:\n    await step({e})\n    return x",
    "async for": "async for x in steps(2):\n    log(x, {e})\nreturn 6",
    "async comprehension": "return [x async for x in steps(2) if {e}]",
    "await in finally": "try:\n    await step({e})\nfinally:\n    await step(2)",
}

STAR_STATEMENT = "try:\n    log({e})\nexcept* ValueError as group:\n    log(repr(group.exceptions))"


def find_functions() -> Iterator[tuple[str, str]]:
    """A name for each pair, and the source of a module with a function `f`."""
    for place, statement in {**STATEMENTS, "except star": STAR_STATEMENT}.items():
        for what, expression in EXPRESSIONS.items():
            yield f"{what} in {place}", write("def", statement, expression)
    for place, statement in ASYNC_STATEMENTS.items():
        for what, expression in EXPRESSIONS.items():
            yield f"{what} in {place}", write("async def", statement, expression)


def write(kind: str, statement: str, expression: str) -> str:
    body = statement.replace("{e}", expression)
    return "\n".join([f"{kind} f(depth=0):", *(f"    {line}" for line in body.split("\n"))])
