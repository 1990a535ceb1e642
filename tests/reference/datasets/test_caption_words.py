from __future__ import annotations

import pytest

pytest.importorskip("HanTa")

from reference.datasets.caption_words import caption_words

#: Sentences as people write them about photographs; nouns were marked by hand before the tagger was run.
MARKED = """
A *cat* is curled up asleep on top of a *suitcase*.
*Rows* of *oranges* and *apples* for *sale* at an outdoor *market*
Young *girl* brushing her *teeth* in a small tiled *bathroom*
A *snowboarder* in mid *air* above a steep *slope*
The *bride* and *groom* are cutting a three tiered *cake*
An old rusty *pickup* *truck* parked beside a *barn*
A *flock* of *geese* swimming across a calm *lake*
*Man* with *glasses* talking on his *phone* outside
a *vase* filled with yellow *flowers* near an open *window*
*Commuters* wait on the *platform* as a *subway* *train* arrives
A *surfer* falls off his *board* into the crashing *waves*
Two *elephants* spray *water* with their *trunks*
A *bowl* of *soup* with *noodles*, *carrots* and green *onions*
A *hotel* *room* has a neatly made *bed* and a *lamp*
*Kids* fly *kites* in the *park* on a windy *day*
The *kitchen* *counter* is covered in dirty *dishes*
a *tennis* *player* reaches up to serve the *ball*
a black and white *photo* of a *motorcycle*
A *herd* of *cows* walking along a *dirt* *road*
A *fire* *hydrant* leaks onto the *sidewalk*
*Bananas* hanging from a *tree* in the *jungle*
A *police* *officer* rides a brown *horse* through *traffic*
*People* are sitting at *tables* under *umbrellas* outside a *cafe*
A half eaten *sandwich* on a *paper* *plate* beside a *drink*
The *catcher* holds out his *glove* behind the *batter*
A *computer* *mouse* and *keyboard* on a cluttered *desk*
a polar *bear* swims under the *ice*
A *couple* pose for a *picture* wearing *ski* *gear*
Several colorful *parrots* perched on a thin *branch*
A double *decker* *bus* drives past a tall *cathedral*
""".strip().splitlines()


def test_nouns_and_noun_phrases_are_given_as_they_are_written() -> None:
    words = caption_words("Two black cats sleeping on a pink couch next to a cell phone.")
    assert words == ("cats", "black cats", "couch", "pink couch", "cell", "phone", "cell phone")


def test_an_adjective_behind_a_noun_begins_another_phrase() -> None:
    assert caption_words("a man, tall trees") == ("man", "trees", "tall trees")


def test_an_adjective_alone_is_no_word() -> None:
    assert caption_words("The sky is blue.") == ("sky",)


def test_a_word_that_is_repeated_is_given_once() -> None:
    assert caption_words("a dog near a dog") == ("dog",)


def test_captions_without_words_have_none() -> None:
    assert caption_words("") == ()
    assert caption_words(" ... ") == ()


def test_upper_case_makes_no_names() -> None:
    assert caption_words("DOGS ON A BEACH") == caption_words("dogs on a beach") == ("dogs", "beach")


def test_nouns_of_captions_are_found() -> None:
    right = wrong = missed = 0
    for line in MARKED:
        expected = {word.strip(".,*").lower() for word in line.split() if word.startswith("*")}
        found = {word for word in caption_words(line.replace("*", "")) if " " not in word}
        right += len(found & expected)
        wrong += len(found - expected)
        missed += len(expected - found)
    assert (right, missed) == (99, 0)
    # "top", "spray", "leaks", "half" and "pose".
    assert wrong <= 5
