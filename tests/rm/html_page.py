"""What a browser would make of a page."""

from html.parser import HTMLParser

_VOID = {"meta", "img", "br", "source"}


class Page(HTMLParser):
    """Its elements, the pieces of text between tags, and the text of each section by its id."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.pieces, self.sections, self._open = [], [""], {}, []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.pieces.append("")
        if tag not in _VOID:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag):
        self.pieces.append("")
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        self.pieces[-1] += data
        for tag, anchor in self._open:
            if tag == "section":
                self.sections.setdefault(anchor, []).append(data.strip())

    @property
    def texts(self):
        return [piece.strip() for piece in self.pieces if piece.strip()]

    @property
    def text(self):
        return "\n".join(self.texts)

    def section(self, anchor):
        """Pieces of text of one section."""
        return [text for text in self.sections[anchor] if text]

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]
