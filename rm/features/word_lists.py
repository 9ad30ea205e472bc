"""Short lists of English words, each of one kind. Longer lists come from a library where a well-kept one exists."""

from __future__ import annotations


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


HEDGES = _listed(
    "maybe perhaps possibly probably might may could seems seem seemingly apparently likely unlikely roughly somewhat "
    "arguably presumably generally usually often sometimes suggests suggest appears appear almost approximately"
)
CERTAINTY = _listed(
    "always never certainly definitely absolutely clearly obviously undoubtedly surely guaranteed proven exactly "
    "completely totally entirely undeniably unquestionably must every all none"
)
FIRST_PERSON = _listed("i i'm i've i'd i'll me my mine myself")
FIRST_PERSON_PLURAL = _listed("we we're we've we'd we'll us our ours ourselves")
SECOND_PERSON = _listed("you you're you've you'd you'll your yours yourself yourselves")
THIRD_PERSON = _listed("he she they him her them his hers their theirs he's she's they're themselves himself herself")
FEMALE = _listed("she her hers herself she's woman women girl girls female mother daughter sister wife lady ladies")
MALE = _listed("he him his himself he's man men boy boys male father son brother husband gentleman gentlemen")
POLITE = _listed("please thank thanks appreciate welcome kindly glad happy pleased pleasure")
PRAISE = _listed(
    "great excellent amazing wonderful fantastic brilliant awesome insightful impressive thoughtful smart clever "
    "perfect outstanding superb fascinating admirable"
)
APOLOGY = _listed("sorry apologize apologies apologise regret unfortunately forgive")
EMPATHY = _listed(
    "understand feel feeling feelings hear tough difficult hard worry worried support listen comfort care"
)
NEGATION = _listed(
    "not no nor never none nothing nobody nowhere cannot can't don't doesn't didn't won't wouldn't shouldn't couldn't "
    "isn't aren't wasn't weren't haven't hasn't hadn't without"
)
MODALS = _listed("can could may might must shall should will would ought")
OBLIGATION = _listed(
    "should must ought shouldn't mustn't need needs responsible responsibility ethical unethical moral"
)
DANGER = _listed(
    "danger dangerous harm harmful illegal risk risks risky unsafe safety warning caution careful serious severe "
    "hazardous consult professional"
)
CONNECTIVES = _listed(
    "however therefore furthermore moreover additionally consequently thus hence nevertheless nonetheless although "
    "because since whereas meanwhile similarly likewise otherwise instead"
)
ORDINALS = _listed("first firstly second secondly third thirdly next then finally lastly")
AI_WORDS = _listed(
    "delve delves delving tapestry testament realm landscape crucial pivotal vibrant underscore underscores intricate "
    "multifaceted foster fosters leverage seamless seamlessly robust nuanced holistic comprehensive elevate embark"
)
COMMON = _listed(
    "the of and to a in is it that for on as with was be by are this from at or an have but not which has had were "
    "been their its if will there when who what all can more would about so out up into than them then"
)
PROFANITY = _listed("fuck fucking fucked shit shitty damn ass asshole bitch bastard crap hell dick piss bullshit")
SLANG = _listed("gonna wanna gotta kinda sorta yeah yep nope lol haha dude guys ok okay cool awesome stuff hey yo")
RELIGION = _listed(
    "god allah jesus christian christians christianity muslim muslims islam jewish jews judaism hindu hindus buddhist "
    "atheist church mosque temple bible quran prayer religion religious"
)
ORIGIN = _listed(
    "black white asian african american european hispanic latino latina mexican chinese indian arab "
    "immigrant immigrants race racial ethnic ethnicity native"
)
ORIENTATION = _listed("gay lesbian bisexual transgender trans queer lgbt lgbtq homosexual heterosexual nonbinary")
AGE = _listed("old elderly young teen teens teenager child children kid kids senior seniors adult adults baby")
POLITICS = _listed(
    "democrat democrats republican republicans liberal liberals conservative conservatives socialist communist trump "
    "biden obama election vote politics political government"
)
DIALECT = _listed(
    "ain't y'all finna gon' gon gotta tryna bruh imma ima dat dis dem dey ya'll cuz nah homie fam lowkey "
    "talmbout deh aks witcha whatchu"
)
"""Markers of African American Language and of informal spelling; a written dialect has many more.

Without those that are standard words too (cause, ion, wit, bout).
"""
BRITISH = _listed(
    "colour colours favour favourite behaviour honour centre metre theatre organise organised realise recognise "
    "analyse travelling cancelled licence programme grey defence labour neighbour"
)
AUTHORITY = _listed("experts expert scientists researchers studies study research evidence professor doctor official")
URGENCY = _listed("now immediately urgent urgently quickly hurry asap soon today instantly")
