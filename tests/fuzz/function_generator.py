"""Random row functions, as Python source: `Generator(seed).module()`."""

import random

import function_rows

CONSTANTS = {
    "int": ["0", "1", "-1", "2", "3", "-3", "7", "10", "100", "2**31", "2**53", "2**53 + 1", "2**63 - 1", "-(2**63)", "2**64", "True"],
    "float": ["0.0", "-0.0", "1.0", "0.5", "-2.5", "1e16", "1e-5", "0.1", "2.0**53", "1e308", 'float("nan")', 'float("inf")', "1e22"],
    "str": [repr(t) for t in function_rows.TEXTS],
    "bool": ["True", "False"],
    "Decimal": ['Decimal("0")', 'Decimal("1.10")', 'Decimal("-1.5")', 'Decimal("1E+20")', 'Decimal("0.1")', 'Decimal("3")', 'Decimal("0.00")', 'Decimal("1E-27")'],
    "date": ["date(2024, 2, 29)", "date(1, 1, 1)", "date(9999, 12, 31)", "date(2023, 1, 1)"],
    "datetime": ["datetime(2024, 2, 29, 12)", "datetime(1, 1, 1)", "datetime(9999, 12, 31, 23, 59)", "datetime(2023, 1, 1)", "datetime(2023, 3, 26, 2, 30)"],
    "timedelta": ["timedelta(days=1)", "timedelta(0)", "timedelta(hours=25, microseconds=1)", "timedelta(days=-1, seconds=5)", "timedelta(microseconds=-1)", "timedelta(days=31)",
                  "timedelta(hours=-36)"],
    "time": ["time(0)", "time(12, 30)"],
    "UUID": ["UUID(int=1)", "UUID(int=0)"],
    "AwareDatetime": ["datetime(2023, 10, 29, 1, 30, tzinfo=UTC)", "datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=5)))"],
    "Colour": ["Colour.RED", "Colour.BLUE", "Colour.NONE"], "Level": ["Level.LOW", "Level.ZERO", "Level.HIGH"],
    "Word": ["Word.A", "Word.SS"], "Mixed": ["Mixed.ONE", "Mixed.TWO"],
}  # fmt: skip
FIELDS = {
    "int": ["r.i", "r.j", "r.inner.i", "r.pair[0]"], "float": ["r.x", "r.y"], "str": ["r.s", "r.t", "r.inner.s", "r.pair[1]"], "bool": ["r.b"], "Decimal": ["r.m", "r.w"],
    "date": ["r.d"], "datetime": ["r.at", "r.until"], "timedelta": ["r.span"], "time": ["r.clock"], "UUID": ["r.u"], "AwareDatetime": ["r.moment"], "Colour": ["r.colour"],
    "Level": ["r.level"], "Word": ["r.word"], "Mixed": ["r.mixed"],
}  # fmt: skip
OPTIONAL = {
    "int": "r.k",
    "float": "r.z",
    "str": "r.n",
    "bool": "r.c",
    "Decimal": "r.v",
    "date": "r.e",
    "timedelta": "r.gap",
    "Colour": "r.hue",
}
ORDERED = [
    "int",
    "float",
    "str",
    "bool",
    "Decimal",
    "date",
    "datetime",
    "timedelta",
    "time",
    "AwareDatetime",
    "Level",
    "Word",
]
TYPES = list(FIELDS)
SPECS = {
    "int": ["", "d", "03d", "05", "5", ",", "x", "+", "<6", "^7d", ">4", "02", "e", ".2f", "010,", "b", "%"],
    "float": ["", ".2f", ".0f", ".1f", "g", "e", ".3", "8.2f", "+.1f", "%", ".1%", ",.2f", "05.1f"],
    "str": ["", "s", ">5", "<5", "^5", "5", ".2", "*^6", "5.3"],
    "bool": ["", "d", "5"], "Decimal": ["", ".2f", "f", ",", "e"], "date": ["", "%Y-%m-%d", "%d.%m.%y", "%A", "%j", "%U"],
    "datetime": ["", "%Y-%m-%dT%H:%M", "%H:%M:%S.%f", "%I %p", "%B"], "timedelta": [""], "time": ["", "%H:%M"], "UUID": [""], "AwareDatetime": ["", "%H:%M %z"], "Colour": [""], "Level": ["", "d", "3"],
    "Word": ["", ">4"], "Mixed": [""],
}  # fmt: skip


class Generator:
    """A function of one seed. `shipped` adds what has no SQL."""

    def __init__(self, seed, shipped=True):
        self.random = random.Random(seed)
        self.shipped = shipped
        self.names = {}
        self.known = []  # what a test has shown not to be None
        self.count = 0

    def of(self, *ways):
        return self.random.choice(ways)

    def chance(self, share):
        return self.random.random() < share

    # --- expressions ------------------------------------------------------------------------------

    def expression(self, kind, depth):
        if depth <= 0 or self.chance(0.12):
            return self.leaf(kind)
        general = [
            self.choice,
            self.choice,
            self.either,
            self.extreme,
            self.walrus,
            self.guarded,
            self.helper,
        ]
        own = getattr(self, f"{kind}_", None)
        ways = [own] * 12 + general if own else general * 2 + [lambda k, d: self.leaf(k)] * 6
        way = self.random.choice(ways)
        return way(depth - 1) if way == own else way(kind, depth - 1)

    def leaf(self, kind):
        known = [e for k, e in self.known if k == kind]
        named = self.names.get(kind, [])
        if known and self.chance(0.4):
            return self.random.choice(known)
        if named and self.chance(0.4):
            return self.random.choice(named)
        return self.random.choice(FIELDS[kind] if self.chance(0.75) else CONSTANTS[kind])

    def choice(self, kind, depth):
        test, known = self.test(depth)
        before = self.known
        self.known = before + known
        a = self.expression(kind, depth)
        self.known = before
        return f"({a} if {test} else {self.expression(kind, depth)})"

    def test(self, depth):
        """A condition, and what it shows to be there."""
        kind = self.random.choice(list(OPTIONAL))
        shape = self.random.randrange(8)
        field = OPTIONAL[kind]
        if shape == 0:
            return f"{field} is not None", [(kind, field)]
        if shape == 1:
            return field, [(kind, field)]
        if shape == 2:
            return f"{field} is not None and {self.bool_(depth)}", [(kind, field)]
        if shape == 3:
            return f"not ({field} is None or {self.bool_(depth)})", [(kind, field)]
        return self.expression(
            self.of("bool", "bool", "bool", "int", "str", "float", "timedelta", "Decimal"), depth
        ), []

    def either(self, kind, depth):
        a, b = self.expression(kind, depth), self.expression(kind, depth)
        if kind in OPTIONAL and self.chance(0.4):
            return f"({OPTIONAL[kind]} or {b})"
        return f"({a} {self.of('and', 'or')} {b})"

    def extreme(self, kind, depth):
        if kind not in ORDERED:
            return self.leaf(kind)
        given = ", ".join(self.expression(kind, depth) for _ in range(self.of(2, 2, 3)))
        return f"{self.of('min', 'max')}({self.of(given, given, f'({given})', f'[{given}]')})"

    def walrus(self, kind, depth):
        self.count += 1
        name = f"w{self.count}"
        made = f"({name} := {self.expression(kind, depth)})"
        test = self.compared(kind, made, self.leaf(kind))
        return f"({name} if {test} else {self.of(name, self.leaf(kind))})"

    def guarded(self, kind, depth):
        if kind not in OPTIONAL:
            return self.leaf(kind)
        field = OPTIONAL[kind]
        return self.of(
            f"({field} if {field} is not None else {self.expression(kind, depth)})",
            f"({self.expression(kind, depth)} if {field} is None else {field})",
        )

    def helper(self, kind, depth):
        if kind == "int":
            return f"halved({self.expression('int', depth)})"
        if kind == "str":
            return f"labelled({self.expression('str', depth)}, n={self.expression('int', depth)})"
        if kind == "float":
            return f"clamped({self.expression('float', depth)})"
        if kind == "bool":
            return f"within({self.expression('int', depth)}, *{self.of('(0, 7)', '[-1, 2**53]')})"
        return self.leaf(kind)

    def int_(self, depth):
        e = self.expression
        ways = [
            lambda: f"({e('int', depth)} {self.of('+', '-', '*', '//', '%')} {e('int', depth)})",
            lambda: f"({e('int', depth)} {self.of('+', '-', '*', '//', '%')} {self.of(*CONSTANTS['int'])})",
            lambda: f"-{e('int', depth)}", lambda: f"abs({e('int', depth)})", lambda: f"len({e('str', depth)})",
            lambda: f"int({e(self.of('bool', 'float', 'Decimal', 'int'), depth)})", lambda: f"round({e(self.of('float', 'int'), depth)})",
            lambda: f"({e('int', depth)}) ** {self.of(2, 3)}", lambda: f"{e('date', depth)}.{self.of('year', 'month', 'day', 'weekday()', 'isoweekday()')}",
            lambda: f"{e('datetime', depth)}.{self.of('year', 'day', 'hour', 'minute', 'second', 'microsecond', 'weekday()')}",
            lambda: f"{e('timedelta', depth)}.{self.of('days', 'seconds')}", lambda: f"sum(({e('int', depth)}, {e('bool', depth)}, {e('int', depth)}))",
            lambda: f"({e('bool', depth)} {self.of('+', '-', '*')} {e('int', depth)})", lambda: f"{e('time', depth)}.{self.of('hour', 'second', 'microsecond')}",
            lambda: f"({e('Level', depth)} {self.of('+', '*')} {e('int', depth)})", lambda: f"sum([{e('int', depth)}, {e('int', depth)}], {e('int', depth)})",
        ]  # fmt: skip
        if self.shipped:
            ways += [
                lambda: f"len({{{e('str', depth)}, {e('str', depth)}}})",
                lambda: f"sum({{{e('int', depth)}, {e('int', depth)}, 3}})",
                lambda: f"{self.of('len', 'max', 'sum')}([*{{{e('int', depth)}, {e('int', depth)}}}])",
                lambda: f"len({self.of('frozenset', 'set', 'tuple', 'list')}(({e('int', depth)}, {e('int', depth)})))",
                lambda: f"len({{{e('int', depth)}: 1, {e('int', depth)}: 2}})",
                lambda: f"[{e('int', depth)}, {e('int', depth)}][{self.of(0, 1, -1)}]",
                lambda: f"({e('int', depth)} {self.of('&', '|', '^')} {e('int', depth)})", lambda: f"divmod({e('int', depth)}, {e('int', depth)})[{self.of(0, 1)}]",
                lambda: f"{e('str', depth)}.{self.of('find', 'count', 'rfind')}({e('str', depth)})", lambda: f"sum(len(p) for p in ({e('str', depth)}, {e('str', depth)}))",
                lambda: f"{e('AwareDatetime', depth)}.{self.of('hour', 'day', 'weekday()', 'year')}",
                lambda: f"({e('AwareDatetime', depth)} - {e('AwareDatetime', depth)}).days",
                lambda: f"{e('date', depth)}.toordinal()", lambda: f"int({e('str', depth)})", lambda: f"sum(i for i in range(3) if i < {e('int', depth)})",
                lambda: f"{e('timedelta', depth)}.microseconds", lambda: f"~{e('int', depth)}", lambda: f"len({e('str', depth)}.split({self.of('', repr(','))}))",
                lambda: f"round({e('int', depth)}, {self.of(-1, -2, 0)})", lambda: f"math.floor({e('float', depth)})", lambda: f"int(f'{{{self.leaf('int')}:d}}')",
                lambda: f"{e('Level', depth)}.value", lambda: f"{e('datetime', depth)}.isocalendar()[1]", lambda: f"len({e('str', depth)}.encode())",
            ]  # fmt: skip
        return self.random.choice(ways)()

    def float_(self, depth):
        e = self.expression
        ways = [
            lambda: f"({e('float', depth)} {self.of('+', '-', '*', '/')} {e('float', depth)})", lambda: f"({e('float', depth)} {self.of('+', '-', '*', '/')} {e('int', depth)})",
            lambda: f"({e('int', depth)} {self.of('+', '-', '*', '/')} {e('float', depth)})", lambda: f"({e('int', depth)} / {e('int', depth)})",
            lambda: f"-{e('float', depth)}", lambda: f"abs({e('float', depth)})", lambda: f"float({e(self.of('int', 'Decimal', 'float'), depth)})",
            lambda: f"{e('timedelta', depth)}.total_seconds()", lambda: f"sum(({e('float', depth)}, {e('float', depth)}))",
        ]  # fmt: skip
        if self.shipped:
            ways += [
                lambda: f"round({e('float', depth)}, {self.of(0, 1, 2, -1)})", lambda: f"({e('float', depth)} {self.of('//', '%')} {e('float', depth)})",
                lambda: f"float({e('str', depth)})", lambda: f"({e('float', depth)}) ** 2", lambda: f"math.sqrt({e('float', depth)})",
                lambda: f"float({e('bool', depth)})", lambda: f"({e('timedelta', depth)} / {e('timedelta', depth)})",
            ]  # fmt: skip
        return self.random.choice(ways)()

    def Decimal_(self, depth):
        e = self.expression
        ways = [
            lambda: f"({e('Decimal', depth)} {self.of('+', '-', '*')} {e(self.of('Decimal', 'Decimal', 'int'), depth)})",
            lambda: f"({e('int', depth)} {self.of('+', '-', '*')} {e('Decimal', depth)})",
            lambda: f"-{e('Decimal', depth)}", lambda: f"abs({e('Decimal', depth)})", lambda: f"Decimal({e(self.of('int', 'Decimal'), depth)})",
        ]  # fmt: skip
        if self.shipped:
            ways += [
                lambda: f"({e('Decimal', depth)} {self.of('/', '//', '%')} {e('Decimal', depth)})", lambda: f"round({e('Decimal', depth)}, {self.of(0, 1, 2)})",
                lambda: f"{e('Decimal', depth)}.quantize(Decimal('0.01'))", lambda: f"Decimal({e('str', depth)})", lambda: f"+{e('Decimal', depth)}",
            ]  # fmt: skip
        return self.random.choice(ways)()

    def bool_(self, depth):
        e = self.expression
        kind = self.random.choice(TYPES)
        ordered = self.random.choice(ORDERED)
        optional = self.random.choice(list(OPTIONAL))
        field = OPTIONAL[optional]
        ways = [
            lambda: f"({self.compared(kind, e(kind, depth), e(kind, depth))})", lambda: f"({self.compared(kind, e(kind, depth), self.of(*CONSTANTS[kind]))})",
            lambda: f"({e(ordered, depth)} {self.of('<', '<=', '>', '>=')} {e(ordered, depth)})",
            lambda: f"({e(ordered, depth)} {self.of('<', '<=')} {e(ordered, depth)} {self.of('<', '<=', '!=', '==', '>')} {e(ordered, depth)})",
            lambda: f"not {e(self.of('bool', 'int', 'str', 'float', 'Decimal', 'timedelta', 'date'), depth)}", lambda: f"({e('bool', depth)} {self.of('and', 'or')} {e('bool', depth)})",
            lambda: f"({field} is {self.of('', 'not ')}None)", lambda: f"({field} {self.of('==', '!=')} {e(optional, depth)})", lambda: f"({field} {self.of('==', '!=')} {field})",
            lambda: f"({field} {self.of('==', '!=')} None)", lambda: f"({field} {self.of('in', 'not in')} {self.container(optional, depth)})",
            lambda: f"({e(kind, depth)} {self.of('in', 'not in')} {self.container(kind, depth)})", lambda: f"({e('str', depth)} {self.of('in', 'not in')} {e('str', depth)})",
            lambda: f"{e('str', depth)}.{self.of('startswith', 'endswith')}({self.of(e('str', depth), '(' + e('str', 0) + ', ' + e('str', 0) + ')')})",
            lambda: f"bool({e(self.of('int', 'str', 'float', 'Decimal', 'timedelta', 'bool'), depth)})", lambda: f"isinstance({e(kind, 0)}, {self.of('int', 'str', '(int, float)', 'Decimal', 'date')})",
            lambda: f"({e('int', depth)} {self.of('<', '==', '!=', '>=')} {self.of(*CONSTANTS['float'])})", lambda: f"({e('float', depth)} {self.of('<', '==', '!=', '>=')} {self.of('0', '1', '-3', '2**53 - 1')})",
            lambda: f"({e('Decimal', depth)} {self.of('<', '==', '!=', '>=')} {e('int', depth)})", lambda: f"({e('bool', depth)} {self.of('<', '==', '!=')} {e('int', depth)})",
            lambda: f"(({e('int', depth)}, {e('str', depth)}) {self.of('==', '!=')} ({e('int', depth)}, {e('str', depth)}))",
            lambda: f"isinstance({field}, {self.of('int', 'str', 'float', 'date', 'NoneType', 'int | None', '(str, NoneType)', 'object', 'Decimal | float')})", lambda: f"({e('str', depth)} {self.of('<', '==', '!=')} {e('Word', depth)})",
            lambda: f"({e('int', depth)} {self.of('<', '==', '!=')} {e('Level', depth)})", lambda: f"({e('Level', depth)} in {self.of('(Level.LOW, 7)', '{0, 7}', '[Level.ZERO]')})",
            lambda: f"({e('Colour', depth)} is {self.of('', 'not ')}{e('Colour', depth)})", lambda: f"({e('Colour', depth)} {self.of('==', '!=')} {e('str', depth)})",
        ]  # fmt: skip
        if self.shipped:
            ways += [
                lambda: f"({e('int', depth)} {self.of('<', '==', '!=', '>=')} {e('float', depth)})", lambda: f"{e('str', depth)}.{self.of('isdigit', 'isspace', 'isalpha', 'isupper')}()",
                lambda: f"(({e('int', depth)}, {e('str', depth)}) {self.of('<', '<=')} ({e('int', depth)}, {e('str', depth)}))",
                lambda: f"any(v > {e('int', depth)} for v in ({e('int', depth)}, {e('int', depth)}))", lambda: f"all([{e('bool', depth)}, {e('bool', depth)}])",
                lambda: f"({e('Decimal', depth)} {self.of('<', '==')} {e('float', depth)})", lambda: f"math.isnan({e('float', depth)})",
                lambda: f"(r.inner {self.of('==', '!=')} Inner(i={e('int', depth)}, s={e('str', depth)}))", lambda: f"(r.pair {self.of('==', '<')} (1, 'a'))",
            ]  # fmt: skip
        return self.random.choice(ways)()

    def compared(self, kind, a, b):
        symbols = ("==", "!=", "<", "<=", ">", ">=") if kind in ORDERED else ("==", "!=")
        return f"{a} {self.random.choice(symbols)} {b}"

    def container(self, kind, depth):
        constants = [self.random.choice(CONSTANTS[kind]) for _ in range(self.of(1, 2, 3))]
        if self.chance(0.2):
            constants.append("None")
        if self.chance(0.4):
            constants.append(self.expression(kind, depth))
        listed = ", ".join(constants)
        return self.of(f"({listed},)", f"[{listed}]", f"{{{listed}}}", f"frozenset([{listed}])")

    def str_(self, depth):
        e = self.expression
        ways = [
            lambda: f"({e('str', depth)} + {e('str', depth)})", lambda: self.formatted(depth), lambda: self.formatted(depth), lambda: f"{e('str', depth)}{self.slice()}",
            lambda: f"{e('str', depth)}.{self.of('strip', 'lstrip', 'rstrip')}({self.of('', '', self.of(*CONSTANTS['str']))})",
            lambda: f"{e('str', depth)}.replace({self.of(*CONSTANTS['str'])}, {e('str', depth)})", lambda: f"{e('str', depth)}.{self.of('removeprefix', 'removesuffix')}({self.of(*CONSTANTS['str'])})",
            lambda: f"str({e(self.of('int', 'str', 'bool', 'date', 'UUID'), depth)})", lambda: f"{self.of(*CONSTANTS['str'])}.join(({e('str', depth)}, {e('str', depth)}, {e('str', depth)}))",
            lambda: f"{e('str', depth)}.split({self.of(*CONSTANTS['str'])})[{self.of(0, -1, 1)}]", lambda: f"{e('date', depth)}.isoformat()", lambda: f"f'{{{OPTIONAL['str']}}}{{{OPTIONAL['int']}}}'",
        ]  # fmt: skip
        if self.shipped:
            ways += [
                lambda: f"{e('str', depth)}.{self.of('upper', 'lower', 'title', 'casefold', 'swapcase', 'capitalize')}()", lambda: f"str({e(self.random.choice(TYPES), depth)})",
                lambda: f"{e('str', depth)}[{self.of(0, 1, -1)}]", lambda: f"({e('str', depth)} * {self.of(0, 2, 3, '((' + e('int', depth) + ') % 4)')})", lambda: f"repr({e(self.random.choice(TYPES), depth)})",
                lambda: f"{e('str', depth)}.{self.of('zfill', 'ljust', 'rjust', 'center')}(6)", lambda: f"{e('datetime', depth)}.isoformat()", lambda: f"{e('str', depth)}[::-1]",
                lambda: f"('%s-%d' % ({e('str', depth)}, {e('int', depth)}))", lambda: f"'-'.join(sorted({e('str', depth)}))", lambda: f"'{{}}:{{:>4}}'.format({e('str', depth)}, {e('int', depth)})",
                lambda: f"{e(self.of('Colour', 'Mixed', 'Word'), depth)}.name", lambda: f"{e('Colour', depth)}.value", lambda: f"{e('str', depth)}.partition(',')[{self.of(0, 2)}]",
                lambda: f"{e(self.of('date', 'datetime'), depth)}.strftime({self.of(repr('%Y/%m/%d'), repr('%d %b %Y'), repr('%H:%M'))})", lambda: f"{e('str', depth)}[{e('int', depth)} % 3:]",
                lambda: f"'|'.join(p for p in {e('str', depth)}.split() if p)", lambda: f"'|'.join({e('str', depth)}.split(','))", lambda: f"hex({e('int', depth)})",
            ]  # fmt: skip
        return self.random.choice(ways)()

    def formatted(self, depth):
        kind = self.random.choice(TYPES if self.shipped else ["int", "str", "bool", "date", "UUID"])
        spec = self.random.choice(SPECS[kind])
        self.count += 1
        name = f"f{self.count}"
        value = self.expression(kind, depth)
        conversion = self.of("", "", "", "", "!s", "!r") if self.shipped or kind == "int" else ""
        spec = f":{spec}" if spec and not conversion else ""
        inner = f"(lambda {name}: f'<{{{name}{conversion}{spec}}}>')({value})"
        simple = value if not set(value) & set("'\"{}:\\") else None
        return f"f'<{{{simple}{conversion}{spec}}}>'" if simple and ":=" not in value else inner

    def slice(self):
        bounds = ["", "", "0", "1", "2", "-1", "-2", "5", "100", "-100"]
        return f"[{self.random.choice(bounds)}:{self.random.choice(bounds)}]"

    def date_(self, depth):
        e = self.expression
        ways = [
            lambda: f"{e('datetime', depth)}.date()", lambda: f"({e('date', depth)} {self.of('+', '-')} {self.of(*CONSTANTS['timedelta'])})",
            lambda: f"{e('date', depth)}.replace({self.of('day=1', 'month=1, day=1')})", lambda: self.leaf("date"),
        ]  # fmt: skip
        if self.shipped:
            ways += [
                lambda: f"({e('date', depth)} {self.of('+', '-')} {e('timedelta', depth)})", lambda: f"date.fromordinal({e('int', depth)})",
                lambda: f"{e('date', depth)}.replace({self.of('month=2', 'day=28', 'year=2023')})", lambda: f"date.fromisoformat({e('str', depth)})",
            ]  # fmt: skip
        return self.random.choice(ways)()

    def datetime_(self, depth):
        e = self.expression
        ways = [
            lambda: f"({e('datetime', depth)} {self.of('+', '-')} {self.of(*CONSTANTS['timedelta'])})", lambda: f"({self.of(*CONSTANTS['timedelta'])} + {e('datetime', depth)})",
            lambda: f"{e('datetime', depth)}.replace({self.of('hour=0, minute=0, second=0, microsecond=0', 'minute=0, second=0, microsecond=0', 'second=0, microsecond=0', 'microsecond=0', 'hour=6, minute=30, second=0, microsecond=1')})",
            lambda: self.leaf("datetime"),
        ]  # fmt: skip
        if self.shipped:
            ways += [
                lambda: f"({e('datetime', depth)} {self.of('+', '-')} {e('timedelta', depth)})", lambda: f"datetime.combine({e('date', depth)}, {e('time', depth)})",
                lambda: f"{e('datetime', depth)}.replace({self.of('day=1', 'tzinfo=None', 'minute=30')})",
            ]  # fmt: skip
        return self.random.choice(ways)()

    def timedelta_(self, depth):
        e = self.expression
        ways = [
            lambda: f"({e('date', depth)} - {e('date', depth)})", lambda: f"({e('datetime', depth)} - {e('datetime', depth)})",
        ]  # fmt: skip
        if self.shipped:
            ways += [
                lambda: f"({e('timedelta', depth)} {self.of('+', '-')} {e('timedelta', depth)})", lambda: f"abs({e('timedelta', depth)})", lambda: f"-{e('timedelta', depth)}",
                lambda: f"({e('timedelta', depth)} {self.of('*', '//')} {self.of(2, 3, -1)})", lambda: f"timedelta(days={e('int', depth)})", lambda: f"timedelta(seconds={e('float', depth)})",
                lambda: f"({e('timedelta', depth)} % {self.of(*CONSTANTS['timedelta'])})",
            ]  # fmt: skip
        return self.random.choice(ways)()

    def time_(self, depth):
        return f"{self.expression('datetime', depth)}.time()" if self.shipped else self.leaf("time")

    # --- statements -------------------------------------------------------------------------------

    def block(self, returns, depth, size, indent):
        lines = []
        for _ in range(self.random.randrange(size)):
            shape = self.random.randrange(7)
            kind = self.random.choice(TYPES)
            self.count += 1
            name = f"v{self.count}"
            if shape <= 2:
                lines.append(f"{indent}{name} = {self.expression(kind, depth)}")
                self.names = {**self.names, kind: [*self.names.get(kind, []), name]}
            elif shape == 3:
                test, known = self.test(1)
                names, before = self.names, self.known
                self.known = before + known
                lines.append(f"{indent}if {test}:")
                lines += (
                    self.block(returns, depth - 1, 2, indent + "    ")
                    if self.chance(0.7)
                    else [f"{indent}    pass"]
                )
                self.names, self.known = names, before
                if self.chance(0.4):
                    lines.append(f"{indent}else:")
                    lines += self.block(returns, depth - 1, 2, indent + "    ")
                    self.names = names
                    return lines
            elif shape == 4:
                test, _ = self.test(1)
                lines.append(f"{indent}{name} = {self.expression(kind, depth - 1)}")
                lines.append(f"{indent}if {test}:")
                lines.append(f"{indent}    {name} = {self.expression(kind, depth - 1)}")
                if self.chance(0.5):
                    lines.append(f"{indent}else:")
                    lines.append(f"{indent}    {name} = {self.expression(kind, depth - 1)}")
                self.names = {**self.names, kind: [*self.names.get(kind, []), name]}
            elif shape == 5:
                lines.append(f"{indent}{name} = {self.expression('int', 1)}")
                given = ", ".join(self.of(*CONSTANTS["int"][:8]) for _ in range(self.of(1, 2, 3)))
                lines.append(f"{indent}for step in ({given},):")
                lines.append(f"{indent}    {name} {self.of('+', '-')}= step * {self.expression('int', 0)}")
                self.names = {**self.names, "int": [*self.names.get("int", []), name]}
            else:
                other = f"u{self.count}"
                lines.append(
                    f"{indent}{name}, {other} = {self.expression(kind, depth - 1)}, {self.expression('int', depth - 1)}"
                )
                self.names = {**self.names, kind: [*self.names.get(kind, []), name]}
                self.names = {**self.names, "int": [*self.names.get("int", []), other]}
        return [*lines, f"{indent}return {self.result(returns, depth)}"]

    def result(self, returns, depth):
        made = []
        for kind, optional in returns:
            text = self.expression(kind, depth)
            if optional and self.chance(0.5):
                shape = self.random.randrange(3)
                if kind in OPTIONAL and shape == 0:
                    text = self.of(OPTIONAL[kind], f"({OPTIONAL[kind]} and {text})")
                elif shape == 1:
                    text = f"({text} if {self.test(1)[0]} else None)"
                else:
                    text = f"(None if {self.test(1)[0]} else {text})"
            made.append(text)
        return made[0] if len(made) == 1 else f"({', '.join(made)})"

    def function(self, name="f"):
        returns = [
            (self.random.choice(TYPES[:8] if self.chance(0.7) else TYPES), self.chance(0.2))
            for _ in range(self.of(1, 1, 1, 2))
        ]
        told = [f"{kind} | None" if optional else kind for kind, optional in returns]
        annotation = told[0] if len(told) == 1 else f"tuple[{', '.join(told)}]"
        lines = self.block(returns, self.of(1, 2, 2, 3), self.of(1, 1, 2, 4), "    ")
        return "\n".join([f"def {name}(r: Row) -> {annotation}:", *lines])


HEADING = """\
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import NoneType
from uuid import UUID

from pg_stepping import AwareDatetime
from function_rows import Colour, Inner, Level, Mixed, Row, Word


def halved(i: int) -> int:
    if i < 0:
        return -halved_of(-i)
    return halved_of(i)


def halved_of(i: int) -> int:
    return i // 2


def labelled(text: str, *, n: int = 3) -> str:
    if n > 100:
        return f"{text}..."
    kind = "few" if n < 3 else "many"
    return f"{text}/{kind}:{n}" if text else kind


def clamped(x: float) -> float:
    return min(max(x, -1e6), 1e6)


def within(i: int, low: int, high: int) -> bool:
    return low <= i < high


"""
