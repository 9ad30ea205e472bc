"""The closed tables of the toy world."""

from __future__ import annotations


def _split(text: str, end: str = ".") -> tuple[str, ...]:
    """The sentences of a text, each with its end."""
    return tuple(f"{part.strip()}{end}" for part in text.split(".") if part.strip())


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

FILLERS = _split(
    "This question comes up quite often. Many people ask this. There is a lot to say. Some books cover it."
    "It has a long history. Others may disagree a little. This is quite common. Here is some background."
    "It takes a moment. One can read more. Schools sometimes teach this. The details can differ."
    "A short note is enough. People often discuss it. That is one part. It is a broad subject."
    "Much was written on it. It depends on the context. Opinions differ here. There are other views."
    "It can be put simply. More could be added. That is the usual view. It comes with time."
)
TOPIC_PHRASINGS = (
    *_split("Describe {}. Tell me about {}. Give me some advice on {}. Please explain {}. Say something about {}"),
    *_split("What should I know about {}. Do you have any tips on {}. How do I start with {}", end="?"),
    *_split("I want to learn about {}. Teach me a little about {}. Write about {}. Tell my friend about {}"),
)
