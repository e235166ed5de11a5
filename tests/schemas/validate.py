"""Holds every line of stdin to a published form: validate.py record SCHEMA | ocsf SCHEMA | otlp SCHEMA | ecs FIELDS | cef | csv.
Prints each fault; the last line is how many lines of each kind there were, as JSON."""
import collections, csv, ipaddress, json, re, sys

kind, faults, counts = sys.argv[1], 0, collections.Counter()


def fault(number, what):
    global faults
    faults += 1
    print(f"line {number}: {what}")


def by_schema(lines, name_of):
    from jsonschema import Draft202012Validator, FormatChecker
    schema = json.load(open(sys.argv[2]))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    for number, line in lines:
        event = json.loads(line)
        counts[str(name_of(event))] += 1
        for error in validator.iter_errors(event):
            fault(number, f"{error.json_path}: {error.message}: {line}")


def flat(value, path=""):
    for key, inner in value.items():
        name = f"{path}.{key}" if path else key
        if isinstance(inner, dict) and name != "ocs":
            yield from flat(inner, name)
        else:
            yield name, inner


def ecs(lines):
    facts = json.load(open(sys.argv[2]))

    def is_of(kind, value):
        if kind == "long":
            return type(value) is int and 0 <= value < 2**63
        if kind == "date":
            return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value))
        if kind == "ip":
            return bool(ipaddress.ip_address(value))
        if kind == "keyword[]":
            return isinstance(value, list) and value and all(isinstance(it, str) for it in value)
        return isinstance(value, str) and value != ""

    for number, line in lines:
        event = json.loads(line)
        fields = dict(flat(event))
        counts[fields["event.action"]] += 1
        for name in ("@timestamp", "ecs.version", "event.kind", "event.category", "event.type"):
            if name not in fields:
                fault(number, f"{name} is missing")
        for name, value in fields.items():
            if name == "ocs":
                continue
            if name not in facts["fields"]:
                fault(number, f"{name} is no field")
            elif not is_of(facts["fields"][name], value):
                fault(number, f"{name} = {value!r}")
            elif name in ("event.kind", "event.outcome", "network.direction") and value not in facts[name]:
                fault(number, f"{name} = {value!r}")
        for category in fields["event.category"]:
            strange = set(fields["event.type"]) - set(facts["event.type"][category])
            if strange:
                fault(number, f"{strange} in {category}")


# The header: seven fields behind `CEF:0|`, in which a bar or backslash has a backslash in front. The extension: pairs, in
# whose values a backslash or equals sign has one; the next key begins behind a blank (ArcSight, Implementing CEF, version 23).
HEAD = re.compile(r"CEF:0((?:\|(?:[^|\\]|\\[|\\])*){6})\|(.*)", re.S)
PAIR = re.compile(r"([A-Za-z][A-Za-z0-9]*)=((?:[^=\\]|\\[\\=nr])*?)(?: (?=[A-Za-z][A-Za-z0-9]*=)|$)", re.S)
KEYS = set("""rt externalId deviceExternalId act reason app requestMethod dhost dst dpt proto spid sproc cnt outcome out in msg
 suid suser fname fileHash cn1 cn1Label cn2 cn2Label cn3 cn3Label cs1 cs1Label cs2 cs2Label cs3 cs3Label""".split())
NUMBERS = {"rt", "dpt", "spid", "cnt", "out", "in", "cn1", "cn2", "cn3"}


def cef(lines):
    for number, line in lines:
        head = HEAD.fullmatch(line)
        if not head:
            fault(number, f"no header: {line}")
            continue
        fields = re.findall(r"\|((?:[^|\\]|\\[|\\])*)", head[1])
        counts[fields[3]] += 1
        if not (fields[5].isdigit() and 0 <= int(fields[5]) <= 10):
            fault(number, f"severity {fields[5]}")
        at, seen = 0, set()
        while at < len(head[2]):
            pair = PAIR.match(head[2], at)
            if not pair:
                fault(number, f"no pair: {head[2][at:]}")
                break
            key, value = pair.groups()
            if key not in KEYS or key in seen:
                fault(number, f"key {key}")
            if key in NUMBERS and not value.isdigit():
                fault(number, f"{key} = {value}")
            seen.add(key)
            at = pair.end()
        for key in seen:
            if re.fullmatch("c[sn][0-9]", key) and key + "Label" not in seen:
                fault(number, f"{key} without its label")


def tables(text):
    rows = list(csv.reader(text.split("\r\n")[:-1], strict=True))
    for number, row in enumerate(rows, 1):
        counts["header" if number == 1 else row[4]] += 1
        if len(row) != len(rows[0]):
            fault(number, f"{len(row)} cells of {len(rows[0])}")
        for cell in row:
            if cell[:1] in ("=", "+", "-", "@", "\t", "\r"):
                fault(number, f"a spreadsheet would run {cell!r}")
            if not cell.isprintable():
                fault(number, f"{cell!r} changes what is shown")


text = sys.stdin.buffer.read().decode("utf-8" if kind == "csv" else "ascii")
numbered = list(enumerate(text.split("\n")[:-1], 1))
if kind == "record":
    by_schema(numbered, lambda event: event["event"])
elif kind == "ocsf":
    by_schema(numbered, lambda event: event["type_uid"])
elif kind == "otlp":
    by_schema(numbered, lambda event: event["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["eventName"])
elif kind == "ecs":
    ecs(numbered)
elif kind == "cef":
    cef(numbered)
elif kind == "csv":
    tables(text)
print(json.dumps(counts, sort_keys=True))
sys.exit(1 if faults else 0)
