"""How does an SVG file become an element of a page that holds several?"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from markupsafe import Markup

__all__ = ["inline"]


def inline(key: str, svg: bytes) -> Markup:
    """An SVG file as an element of the page: no prolog, no namespaces, ids that begin with ``key``, a spoken name."""
    root = ET.fromstring(svg)  # noqa: S314  our own drawing
    title = next((e.text or "" for e in root if _local(e.tag) == "title"), "")
    _drop(root, "metadata", "style", "title")
    _own_names(root, key)
    _hoist_styles(root)
    box = root.attrib["viewBox"]
    width, height = (f"{float(size):g}" for size in box.split()[2:])
    root.attrib = {"viewBox": box, "width": width, "height": height, "role": "img", "aria-label": title}
    spoken = ET.Element("title")
    spoken.text = title
    root.insert(0, spoken)
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704  serialised, so escaped


def _drop(root: ET.Element, *tags: str) -> None:
    for parent in list(root.iter()):
        for child in [c for c in parent if _local(c.tag) in tags]:
            parent.remove(child)


def _own_names(root: ET.Element, key: str) -> None:
    """Tags and attributes without namespaces; of the ids those that are pointed to, with ``key`` before them."""
    used = {_target(value) for element in root.iter() for value in element.attrib.values()} - {""}
    for element in root.iter():
        element.tag = _local(element.tag)
        kept = ((_local(name), value) for name, value in element.attrib.items())
        element.attrib = {n: _renamed(n, v, key) for n, v in kept if n != "id" or v in used}


def _target(value: str) -> str:
    """The id that an attribute's value points to, or an empty string."""
    if value.startswith("#"):
        return value[1:]
    return value[5:-1] if value.startswith("url(#") else ""


def _renamed(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    target = _target(value)
    return value.replace(f"#{target}", f"#{key}-{target}") if target and name in ("href", "clip-path") else value


def _hoist_styles(root: ET.Element) -> None:
    """Give a style that all marks of a group share to the group: a page of many rows is half as large."""
    for group in root.iter("g"):
        styles = {child.get("style") for child in group}
        if len(group) > 1 and all(child.tag == "use" for child in group) and len(styles) == 1 and None not in styles:
            group.set("style", "; ".join(filter(None, [group.get("style"), *map(str, styles)])))
            for child in group:
                del child.attrib["style"]


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
