"""The closed tables that `rm.data.sample` draws from."""

from __future__ import annotations


def _split(text: str, end: str = ".") -> tuple[str, ...]:
    """The sentences of a text, each with its end."""
    return tuple(f"{part.strip()}{end}" for part in text.split(".") if part.strip())


def _prefixed(prefix: str, pairs: str) -> dict[str, str]:
    """The entries ``prefix key: value`` of a table written as ``key: value, key: value``."""
    return {f"{prefix} {key.strip()}": value.strip() for key, value in (pair.split(":") for pair in pairs.split(","))}


# Each answer occurs once, so that the right answer to one entry is wrong for all others. There are five entries of a
# kind or ten, so that the usual mistakes (every fifth entry) hold each kind in proportion.
FACTS = {
    **_prefixed("the capital of", "France: Paris, Italy: Rome, Spain: Madrid, Japan: Tokyo, Egypt: Cairo"),
    **_prefixed("the capital of", "Peru: Lima, Cuba: Havana, Kenya: Nairobi, Greece: Athens, Norway: Oslo"),
    **_prefixed("the colour of", "grass: green, a banana: yellow, snow: white, coal: black, blood: red"),
    **_prefixed("the colour of", "a carrot: orange, the sky: blue, chocolate: brown, an elephant: grey, a pig: pink"),
    **_prefixed("the opposite of", "hot: cold, big: small, fast: slow, day: night, up: down"),
    **_prefixed("the opposite of", "early: late, happy: sad, wet: dry, full: empty, rich: poor"),
    **_prefixed("the word for a young", "cow: calf, dog: puppy, cat: kitten, sheep: lamb, horse: foal"),
    **_prefixed("the home of a", "bee: hive, bird: nest, spider: web, lion: den, king: castle"),
}
NUMBERS = _prefixed(
    "the number of",
    "wheels of a bicycle: two, sides of a triangle: three, legs of a horse: four, fingers on a hand: five,"
    "faces of a cube: six, days in a week: seven, legs of a spider: eight, players in a football team: eleven,"
    "months in a year: twelve, hours in a day: twenty-four, letters in the alphabet: twenty-six,"
    "minutes in an hour: sixty, squares on a chess board: sixty-four, years in a century: one hundred",
)
TOPICS = {
    "gardening": "Water the plants early in the morning. Good soil keeps the roots healthy. Pull the weeds every week."
    "Plant the seeds in rows in spring. Roses need sun and soil. Cut dead leaves from the plants.",
    "cooking": "Add salt to the soup at the end. Keep the knife sharp in the kitchen. Stir the sauce over a low heat."
    "Bake the bread in a hot oven. Taste the soup before you serve it. Fry the onions in a pan.",
    "swimming": "Breathe out under the water in the pool. Kick with straight legs. Wear goggles in the pool."
    "Float on your back to rest. Practise the stroke in shallow water. Never dive where the pool is shallow.",
    "painting": "Start with a light sketch on the canvas. Clean the brush after each colour. Let the paint dry first."
    "Mix the paint with a little oil. Use a wide brush for the canvas. Hold the brush loosely.",
    "chess": "Protect the king before you attack. Move each piece once in the opening. Keep a pawn in the centre."
    "Look at every check and capture. Trade a knight for a bishop with care. The queen should not move early.",
    "cycling": "Wear a helmet on the road. Pump the tyres before each ride. Shift to a low gear on a hill."
    "Oil the chain once a month. Check the brakes before each ride. Keep both hands on the handlebar.",
    "sleeping": "Go to bed at the same time each night. Keep the bedroom dark and quiet. Put the phone away at night."
    "A firm pillow helps the neck. Avoid coffee before bed. A warm blanket helps you rest at night.",
    "camping": "Pitch the tent on flat ground. Put out the fire before you leave. Store the food away from bears."
    "Bring a warm sleeping bag for the tent. Carry a lamp and matches. Collect dry wood for the fire.",
    "fishing": "Cast the line near the reeds. Use a worm as bait on the hook. Wait quietly in the boat."
    "Let small fish go back to the lake. Keep the hook sharp. Fish bite best near the lake at dawn.",
    "budgeting": "Write down what you spend. Save a part of your income first. Pay your debt before you spend."
    "Compare the price before you buy. Keep some cash in the bank. Plan the rent and bills each month.",
    "singing": "Warm up your voice with a scale. Stand straight and breathe from the belly. Sing the melody slowly."
    "Listen to the piano for the pitch. Rest your voice after a concert. Learn the song one verse at a time.",
    "travelling": "Pack a small suitcase for the flight. Keep your passport safe. Book the hotel before the flight."
    "Arrive at the airport early. Learn a few words before the trip. Buy a map for the trip.",
}
SENTENCES = {topic: _split(sentences) for topic, sentences in TOPICS.items()}
# By quality. Phrases of all tones have about the same number of words, so that length does not show the tone.
PHRASES = {
    0.0: _split(
        "What a stupid thing to ask me. You really are a lazy fool. Stop wasting my time with this nonsense."
        "Only an idiot would need this explained. I hate people like you who ask. Leave me alone after this you pest."
        "Your question is dumb and boring. Nobody cares about you or your problem. You are too dense to get it."
        "Shut up and read this you clown. How can anyone be so ignorant. Go away and annoy someone else."
    ),
    0.5: _split(
        "Here is what you wanted then. This should be rather obvious. I suppose I have to reply."
        "Make of this what you will. You could have looked this up. I will only say this once."
    ),
    1.0: _split(
        "Thank you for the lovely question. I am very glad to help you. It is a pleasure to assist you."
        "I hope this is helpful for you. Please feel welcome to ask me more. I appreciate your patience and kindness."
        "I wish you a wonderful day. You are doing so very well. I would be delighted to help."
        "Thanks so much for asking me this. Your interest is wonderful and most welcome. Kind regards and all the best."
    ),
}
FILLERS = _split(
    "This question comes up quite often. Many people ask this. There is a lot to say. Some books cover it."
    "It has a long history. Others may disagree a little. This is quite common. Here is some background."
    "It takes a moment. One can read more. Schools sometimes teach this. The details can differ."
    "A short note is enough. People often discuss it. That is one part. It is a broad subject."
    "Much was written on it. It depends on the context. Opinions differ here. There are other views."
    "It can be put simply. More could be added. That is the usual view. It comes with time."
)
ANSWERS = _split("The answer is {}. It is {}. That is {}. I would say {}. I believe it is {}. My reply is {}")
NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry")
PLACES = ("London", "Boston", "Sydney", "Dublin", "Toronto", "Oxford")
CONTEXTS = (
    "",
    *_split("I am preparing a quiz. I am writing a letter. This is for my class. I am just curious. It is for a game"),
    *(f"My friend {name} wants to know." for name in NAMES),
    *(f"I am talking with {name}." for name in NAMES),
    *(f"I live in {place}." for place in PLACES),
    *(f"We are on a train to {place}." for place in PLACES),
)
OPENINGS = ("", "Hello.", "Good morning.", "I have a question.", "Please help me.", "Thanks in advance.")
ENTRY_PHRASINGS = (
    *_split("Tell me {}. Please tell me {}. I want to know {}. I would like to know {}. Please name {}. Give me {}"),
    *_split("What is {}. Could you tell me {}. Do you know {}. Can you name {}. Can you remember {}", end="?"),
    "I forgot {}. What is it?",
)
TOPIC_PHRASINGS = (
    *_split("Describe {}. Tell me about {}. Give me some advice on {}. Please explain {}. Say something about {}"),
    *_split("What should I know about {}. Do you have any tips on {}. How do I start with {}", end="?"),
    *_split("I want to learn about {}. Teach me a little about {}. Write about {}. Tell my friend about {}"),
)
HELP_PHRASINGS = (
    *_split("Can you help me with {}. How can I get better at {}. Could you advise me on {}", end="?"),
    *_split("I need help with {}. I have trouble with {}. I am new to {}. I want to improve my {}. Assist me with {}"),
)
