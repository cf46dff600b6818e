"""Lists of English words that hold a question together and say little of what it is about."""

from llmops_langchain.text.tables import by_word, listed

__all__ = [
    "BEFORE_INFINITIVE",
    "BEFORE_VERB",
    "DIRECTIONS",
    "EMPTY",
    "FRAME",
    "FREE",
    "FUNCTION",
    "MOODS",
    "NEGATIONS",
    "PARTICLES",
    "QUESTION_WORDS",
    "SUBJECTS",
    "WHETHER",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(listed(text))


QUESTION_WORDS = _words("what when where who whom whose which why how")

NEGATIONS = _words("not no never none neither nor non nobody nothing nowhere without")

PARTICLES = _words(
    "in out on off back up down over under before after above below until till since within"
)
"""Small words whose opposite turns a verb or a time: `opt in`, `after 5`."""

DIRECTIONS = by_word(
    {
        "to": "to into onto",
        "from": "from off out",
        "by": "by",
        "with": "with via using",
        "without": "without",
        "for": "for",
        "in": "in at",
        "on": "on",
        "of": "of between",
        "against": "against",
        "over": "over",
        "under": "under",
        "than": "than",
        "instead": "instead",
        "not": "not",
    }
)
"""What part the words behind a small word play; two things that swap parts are another question."""

FUNCTION = (
    _words(
        """a an the this that these those some any every each all both either such own
        i me my mine myself we us our ours you your yours he him his she her hers it its
        they them their theirs one someone somebody anyone anybody
        am is are was were be been being do does did done doing have has had having
        can could will would shall should may might must ought
        and or but if then than so because as while though although whether
        of at by for with about against between into through during to from again once
        here there only just also too very much many more most less least few fewer
        yes same other another get got go going come way make let like want need know
        please thanks thank hello hi hey st nd rd th"""
    )
    | QUESTION_WORDS
    | NEGATIONS
    | PARTICLES
    | frozenset(DIRECTIONS)
)

EMPTY = _words(
    """a an the this that these those i me we us you one it its am is are be being been do does
    doing having can could may might must will would shall should ought and then so because of in
    on at much many here there just also very please yes st nd rd th"""
)
"""Small words that make no difference where only one of two questions has them."""

FREE = EMPTY | _words(
    """some my mine myself our ours your yours as by for with about to from have has get got go
    going come way want need know like"""
)
"""Those that make none unless the other question has another of them in their place. Past forms,
degrees, quantities, other persons and most prepositions do make a difference."""

FRAME = _words(
    """time cost price fee available possible able obtain receive find tell show help explain
    process procedure step way method happen mean wonder ask number allow permit require need
    include provide offer look use take place"""
)
"""Words of content that questions are framed with, as `the procedure for`. That one is left over
says nothing, but its opposite still does (`allowed`, `banned`)."""

BEFORE_INFINITIVE = _words(
    """how want need like way have going able where what when possible allowed got try trying
    required used us me wish supposed due ability steps"""
)
"""Words behind which `to` belongs to a verb."""

BEFORE_VERB = _words("i you we they to not can could must may should will would please do did")

SUBJECTS = _words("i we you he she it they there the a an my our this that")

WHETHER = _words(
    """is are was were am do does did has have had can could may might will would shall should
    must"""
)
"""Verbs that ask for yes or no where they stand first, or before a subject."""

MOODS = (
    _words("can could may might"),
    _words("should ought must shall"),
    _words("will would"),
    _words("was were did had"),
)
"""Verbs of one mood or tense; a question for yes or no changes with it."""
