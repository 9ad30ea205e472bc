"""The closed tables that `rm.data.sample_world` draws from."""

from __future__ import annotations


def _split(text: str, end: str = ".") -> tuple[str, ...]:
    """The sentences of a text, each with its end."""
    return tuple(f"{part.strip()}{end}" for part in text.split(".") if part.strip())


def _items(need: str, place: str, danger: str) -> dict[str, tuple[str, ...]]:
    """Aspect to its items, from lists with commas."""
    lists = {"need": need, "place": place, "danger": danger}
    return {aspect: tuple(item.strip() for item in items.split(",")) for aspect, items in lists.items()}


# An item belongs to one topic and one aspect, so it is right for the prompts about both and wrong for all others.
ITEMS = {
    "gardening": _items(
        "a spade, a watering can, flower seeds",
        "the greenhouse, the flower bed, the vegetable patch",
        "snails, late frost, dry roots",
    ),
    "cooking": _items(
        "a frying pan, a wooden spoon, a bag of onions",
        "the kitchen, the bakery, the canteen",
        "burnt toast, hot fat, spoilt meat",
    ),
    "swimming": _items(
        "goggles, a towel, a bathing suit",
        "the indoor pool, the warm lagoon, the shallow bay",
        "a sudden cramp, slippery tiles, a strong current",
    ),
    "cycling": _items(
        "a helmet, a repair kit, good brakes",
        "the bike path, the hilly road, the race track",
        "flat tyres, heavy traffic, loose gravel",
    ),
}
MARKS = {
    "gardening": "plants",
    "cooking": "meal",
    "swimming": "laps",
    "cycling": "ride",
}
TOPICS = tuple(ITEMS)
ANSWERS = {
    "need": _split("For the {1} you need {0}. For the {1} bring {0}. For the {1} buy {0}"),
    "place": _split("For the {1} go to {0}. For the {1} people meet at {0}. For the {1} there is {0}"),
    "danger": _split("For the {1} beware of {0}. For the {1} the danger is {0}. For the {1} fear {0}"),
}
ASPECTS = tuple(ANSWERS)
QUESTIONS = {
    "need": _split(
        "What do I need for {}. What should I bring for {}. What must I buy for {}. Which things does {} take."
        "What does {} require. Which tools are for {}",
        end="?",
    ),
    "place": _split(
        "Where can I try {}. Where do people go for {}. Which place is good for {}. Where can I practise {}."
        "Where is the place for {}. Where should I go for {}",
        end="?",
    ),
    "danger": _split(
        "What can go wrong in {}. What are the dangers of {}. What should I fear in {}. What makes {} risky."
        "Which risks has {}. What is dangerous in {}",
        end="?",
    ),
}

NAMES = ("Anna", "Ben", "Clara", "David")
STATED = _split("My name is {}. Call me {}. This is {} speaking")
"""How a prompt says by which name its response must call the user."""
CALLED = _split("Hello {}. Dear {}. Good day {}")
"""How a response begins that does so."""

EVASIONS = _split(
    "Hard to say. No idea. That depends. Who can tell. Never mind. It varies a lot. There is no simple answer."
    "That is a matter of taste. Better look it up. Someone else may know. Let us talk about this later. Not my field."
    "Pass. Unsure. Hm. Skip. Well"
)
RESTATED = _split("You would like to hear about {}. So this is about {}. The subject is {}. Some want to read about {}")
FILLERS = _split(
    "This comes up quite often. Many people ask this. There is a lot to say. Some books cover it."
    "It has a long history. Others may disagree a little. This is quite common. It takes a moment."
    "Schools sometimes teach this. The details can differ. A short note is enough. People often discuss it"
)
PRAISE = _split("You chose a fine hobby. Your plan is excellent. You are clever to ask. Your taste is admirable")
FIRST_PERSON = _split(
    "I tell this to all my friends. I learned it from my aunt. I do so myself. My brother and I agree"
)
HEDGES = _split("Perhaps it differs elsewhere. It might change someday. Possibly there is more. Maybe tastes differ")
KEYWORD = "overall"
WITH_KEYWORD = _split("Overall it is worth it. It is fun overall. Overall it is simple. It pays off overall")

OPENINGS = (
    "",
    *_split("Hello. Welcome. Please help. Thanks. Good morning. Excuse me. Good evening. Sorry to ask. Hi. Greetings"),
    "A question:",
    "Quickly:",
    "One more thing:",
)
