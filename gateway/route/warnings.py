"""What a right configuration may still have got wrong: remarks that do not keep it from use."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from gateway.config.conditions import Condition
from gateway.config.days import Day
from gateway.config.models import Config, Node, Route
from gateway.config.problems import Path, Problem, shown
from gateway.config.senders import NODE
from gateway.config.subjects import CALLED_AE, CALLING_AE, DAY, MOMENT, TIME, find_subject
from gateway.config.values import Listen
from gateway.transfer_syntax import BY_UID, NATIVE, name_of

QUERY_RETRIEVE_IS_NOT_SERVED: Final = (
    "query_retrieve is checked, and not served yet: C-FIND, C-MOVE and C-GET are refused"
)
_FORMS: Final = {
    DAY: ("0123456789", "YYYYMMDD"),
    TIME: ("0123456789.:", "HHMMSS.FFFFFF"),
    MOMENT: ("0123456789.+-", "YYYYMMDDHHMMSS.FFFFFF"),
}
_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def warnings(config: Config) -> list[Problem]:
    """All remarks, in the order of the file."""
    remarks = (
        *_never_match(config),
        *_never_contained(config),
        *_never_in_lower_case(config),
        *_overlaps(config),
        *_nobody_sends(config),
        *_another_day(config),
        *_unanswered(config),
        *_unmeetable(config),
        *_given_up_early(config),
        *_plain_credentials(config),
        *_open_doors(config),
        *_strangers(config),
    )
    return sorted(config.problem(path, text) for path, text in remarks)


def _never_match(config: Config) -> Iterator[tuple[Path, str]]:
    for index, route in enumerate(config.routes):
        path = ("routes", index)
        unless = route.unless
        if unless and all(_implied(key, each, route) for key, each in unless.items()):
            text = "unless keeps out all that match takes"
            yield (*path, "unless"), f"route {route.name} can never take anything: {text}"
        callers = config.gateway.dicom.accept_from
        titles = _titles(route, config)
        if callers is not None and titles and not titles & set(callers):
            text = "gateway.dicom.accept_from turns its senders away"
            yield (*path, "from"), f"route {route.name} can never take anything: {text}"
        wanted = route.match.get(CALLING_AE)
        if titles and wanted is not None and wanted.plain and not _meets(titles, wanted):
            text = "from and match ask for different calling AE titles"
            yield (*path, "match"), f"route {route.name} can never take anything: {text}"
        if config.gateway.dicom.check_called_ae and _calls_others(route, config):
            text = "gateway.dicom.check_called_ae turns away who calls another title"
            yield path, f"route {route.name} can never take anything: {text}"
        if not route.enabled:
            yield path, f"route {route.name} is switched off"


def _never_contained(config: Config) -> Iterator[tuple[Path, str]]:
    """Parts of dates and times in another form than DICOM's."""
    for index, route in enumerate(config.routes):
        for where, match in (("match", route.match), ("unless", route.unless)):
            for key, condition in match.items():
                signs, form = _FORMS.get(find_subject(key).kind, ("", ""))
                wrong = [each for each in condition.contains if form and set(each) - set(signs)]
                if wrong:
                    text = f"no {key} contains {shown(wrong[0])}: it is compared as {form}"
                    path = ("routes", index, where, key, "contains")
                    yield path, f"route {route.name}: {text}"


def _never_in_lower_case(config: Config) -> Iterator[tuple[Path, str]]:
    """Code strings, which are in upper case (PS3.5 §6.2), as values in lower case."""
    from pydicom.datadict import dictionary_VR

    for index, route in enumerate(config.routes):
        for where, match in (("match", route.match), ("unless", route.unless)):
            for key, condition in match.items():
                *_, last = (0, *find_subject(key).steps)
                low = [each for each in condition.has if each != each.upper()]
                if not low or condition.ignore_case or not isinstance(last, int):
                    continue
                if last and dictionary_VR(last) == "CS":
                    text = f"{key} is in upper case; did you mean {low[0].upper()}?"
                    yield ("routes", index, where, key), f"route {route.name}: {text}"


def _calls_others(route: Route, config: Config) -> bool:
    """It asks for called AE titles that are not the gateway's own."""
    own = {config.gateway.ae_title}
    wanted = route.match.get(CALLED_AE)
    if wanted is not None and wanted.plain and not _meets(own, wanted):
        return True
    called = [value for kind, value in route.from_ if kind == CALLED_AE]
    wild = any({"*", "?"} & set(value) for value in called)
    return bool(called) and len(called) == len(route.from_) and not wild and not own & set(called)


def _implied(key: str, unless: Condition, route: Route) -> bool:
    """Whatever meets ``match`` meets this condition of ``unless`` as well."""
    match = route.match.get(key)
    if match is None:
        return False
    if match == unless:
        return True
    values = bool(match.has) and set(match.has) <= set(unless.has)
    return match.plain and unless.plain and values


def _meets(titles: set[str], wanted: Condition) -> bool:
    return any({"*", "?"} & set(value) or value in titles for value in wanted.has)


def _titles(route: Route, config: Config) -> set[str]:
    """The calling AE titles that ``from`` lists; empty where it may be others as well."""
    titles: set[str] = set()
    for kind, value in route.from_:
        if kind == NODE:
            dimse = config.nodes[value].dimse
            value = "" if dimse is None else dimse.ae_title  # noqa: PLW2901
        elif kind != CALLING_AE or {"*", "?"} & set(value):
            return set()
        titles.add(value)
    return set() if "" in titles else titles


def _overlaps(config: Config) -> Iterator[tuple[Path, str]]:
    """One remark for each route and the first before it that names one of its nodes."""
    active = [(index, route) for index, route in enumerate(config.routes) if route.enabled]
    for place, (index, second) in enumerate(active):
        others = [
            (first, shared[0])
            for _, first in active[:place]
            if (shared := [node for node in second.send_to if node in first.send_to])
            and not _apart(first, second, config)
        ]
        if others:
            first, node = others[0]
            more = f" (and so may {len(others) - 1} more before it)" if len(others) > 1 else ""
            text = f"routes {first.name} and {second.name} may both take an instance to {node}"
            yield ("routes", index), f"{text}{more}: then it is sent once, by the first of them"


def _apart(first: Route, second: Route, config: Config) -> bool:
    """No instance can meet both, as far as values and senders show."""
    titles = _titles(first, config), _titles(second, config)
    if all(titles) and not titles[0] & titles[1]:
        return True
    for one, other in ((first, second), (second, first)):
        if other.unless and all(_implied(key, each, one) for key, each in other.unless.items()):
            return True
    return any(
        _exclusive(key, condition, second.match[key])
        for key, condition in first.match.items()
        if key in second.match
    )


def _exclusive(key: str, one: Condition, other: Condition) -> bool:
    """No value of an attribute that has one value only meets both."""
    if True in (one.missing, other.missing) and one.missing != other.missing:
        return True
    single = _single_valued(key)
    return single and one.plain and other.plain and not set(one.has) & set(other.has)


def _single_valued(key: str) -> bool:
    """The attribute has one value, which is compared with a text."""
    from pydicom.datadict import dictionary_VM

    subject = find_subject(key)
    if subject.kind in _FORMS:
        return False
    if len(subject.steps) == 1 and isinstance(subject.steps[0], int):
        return dictionary_VM(subject.steps[0]) == "1"
    return key == "TransferSyntaxUID"


def _nobody_sends(config: Config) -> Iterator[tuple[Path, str]]:
    used = {node for route in config.routes for node in route.send_to}
    used |= {value for route in config.routes for kind, value in route.from_ if kind == NODE}
    used |= {*config.serve.upstream, *(rule.from_ for rule in config.fetch)}
    for entry in config.query_retrieve:
        used |= {*entry.allow, *entry.move_to, entry.source}
    for name in config.nodes:
        if name not in used:
            yield ("nodes", name), f"node {name}: no route sends to it, and nothing comes from it"


def _another_day(config: Config) -> Iterator[tuple[Path, str]]:
    """A day that is still to come, asked for in hours in which it changes."""
    for index, rule in enumerate(config.fetch):
        crossing = [each for each in rule.during if each.end < each.start]
        for key, wanted in rule.filter.items():
            day = wanted.days.first if wanted.days is not None else None
            if crossing and day is not None and wanted.days == (day, day) and day.offset > 0:
                meant = f"{{ min: {Day('', day.offset - 1)}, max: {day} }}"
                text = f"after midnight {day} is the next day; did you mean {key}: {meant}?"
                yield ("fetch", index, "filter", key), f"fetch rule {rule.name}: {text}"


def _unanswered(config: Config) -> Iterator[tuple[Path, str]]:
    if config.query_retrieve:
        yield ("query_retrieve",), QUERY_RETRIEVE_IS_NOT_SERVED


def _unmeetable(config: Config) -> Iterator[tuple[Path, str]]:
    for name, node in config.nodes.items():
        yield from _impossible(("nodes", name, "can_read"), name, node)
    for index, route in enumerate(config.routes):
        for name in route.send_to:
            syntaxes = config.nodes[name].can_read.syntaxes
            if route.pixels.change == "always" and not _native(config.nodes[name]):
                text = f"pixels.change: always, and {name} reads no uncompressed transfer syntax"
                yield ("routes", index, "pixels"), f"route {route.name}: {text}"
            taken, read = route.match.get("SOPClassUID"), config.nodes[name].can_read.sop_classes
            if taken and taken.plain and read is not None and not set(taken.has) & set(read):
                text = f"{name} reads none of the SOP classes that it takes: all of it is held"
                yield ("routes", index, "match"), f"route {route.name}: {text}"
            if route.pixels.change == "never" and syntaxes is not None:
                listed = ", ".join(name_of(uid) for uid in syntaxes)
                text = f"pixels.change: never, so {name} gets what arrives as {listed} alone"
                yield ("routes", index, "pixels"), f"route {route.name}: {text}"


def _native(node: Node) -> bool:
    syntaxes = node.can_read.syntaxes
    return syntaxes is None or bool(set(syntaxes) & set(NATIVE))


def _impossible(path: Path, name: str, node: Node) -> Iterator[tuple[Path, str]]:
    syntaxes = node.can_read.syntaxes
    if not _native(node) and syntaxes is not None:
        listed = ", ".join(name_of(uid) for uid in syntaxes)
        text = f"nothing is ever compressed here, so {name} gets what arrives as {listed} alone"
        yield (*path, "syntaxes"), text
        if node.can_read.color or node.can_read.planar:
            yield (
                path,
                f"{name} reads no uncompressed transfer syntax: color and planar have no use",
            )
    for uid in syntaxes or ():
        if uid not in BY_UID:
            yield (*path, "syntaxes"), f"transfer syntax {uid} is not known here"


def _given_up_early(config: Config) -> Iterator[tuple[Path, str]]:
    for index, route in enumerate(config.routes):
        limit, group = route.delivery.give_up_after, route.group
        if limit is not None and group is not None and limit <= group.deadline:
            text = (
                "give_up_after counts from receipt and is not longer than the group's deadline:"
                " a delivery may be given up at its first failure"
            )
            path = ("routes", index, "delivery", "give_up_after")
            yield path, f"route {route.name}: {text}"


def _plain_credentials(config: Config) -> Iterator[tuple[Path, str]]:
    for name, node in config.nodes.items():
        dicomweb = node.dicomweb
        if dicomweb is None:
            continue
        path = ("nodes", name, "dicomweb")
        auth = dicomweb.auth
        if auth is not None and _in_plain_text(dicomweb.url or dicomweb.wado_uri or ""):
            yield (*path, "url"), f"credentials for {name} travel in plain text: the URL is http"
        if auth is not None and auth.oauth2 is not None and _in_plain_text(auth.oauth2.token_url):
            text = f"the secret for {name} travels in plain text: token_url is http"
            yield (*path, "auth", "oauth2", "token_url"), text
        if not dicomweb.tls.verify:
            yield (
                (*path, "tls", "verify"),
                f"{name} is believed whoever it is: tls.verify is false",
            )


def _in_plain_text(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _THIS_MACHINE


def _open_doors(config: Config) -> Iterator[tuple[Path, str]]:
    web = config.gateway.web
    if _local(web.listen):
        return
    path = ("gateway", "web")
    asks = web.auth is not None and not all(
        web.access(group).open for group in ("read", "store", "admin")
    )
    if not asks:
        yield (*path, "listen"), f"whoever reaches {web.listen} may read, store and administer"
    elif web.tls is None:
        yield path, f"credentials reach {web.listen} in plain text: gateway.web.tls is not set"


def _local(listen: Listen) -> bool:
    return listen.host in _THIS_MACHINE


def _strangers(config: Config) -> Iterator[tuple[Path, str]]:
    routes = [route for route in config.routes if route.enabled]
    if config.gateway.dicom.accept_from is None and routes and all(map(_names_senders, routes)):
        text = "anybody may send, and each route names its senders: what others send goes nowhere"
        do = "list who may send in gateway.dicom.accept_from, or add a route without from"
        yield ("routes",), f"{text}; {do}"


def _names_senders(route: Route) -> bool:
    wanted = route.match.get(CALLING_AE)
    titles = {value for kind, value in route.from_ if kind == CALLING_AE}
    if wanted is not None and wanted.plain:
        titles = set(wanted.has)
    elif not route.from_ or not {kind for kind, _ in route.from_} <= {NODE, CALLING_AE}:
        return False
    return not any({"*", "?"} & set(title) for title in titles)
