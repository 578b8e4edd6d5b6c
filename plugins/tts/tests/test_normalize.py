# ruff: noqa: RUF001 (signs that look alike are what this file is about)
"""Text is written out as it is spoken."""

from __future__ import annotations

import pytest

from aigc_sdk.errors import PromptError
from aigc_sdk_tts.normalize import normalize
from aigc_sdk_tts.numbers import cardinal, ordinal, roman, year

NUMBERS = [
    ("0", "zero"),
    ("7", "seven"),
    ("13", "thirteen"),
    ("42 cats", "forty two cats"),
    ("100", "one hundred"),
    ("101", "one hundred one"),
    ("999", "nine hundred ninety nine"),
    ("1,000", "one thousand"),
    ("1,234", "one thousand two hundred thirty four"),
    ("12,345", "twelve thousand three hundred forty five"),
    ("123456", "one hundred twenty three thousand four hundred fifty six"),
    ("1,000,000", "one million"),
    ("1,000,001 stars", "one million one stars"),
    ("7,800,000,000", "seven billion eight hundred million"),
    ("3.14", "three point one four"),
    ("0.5", "zero point five"),
    (".25", "point two five"),
    ("1,234.50", "one thousand two hundred thirty four point five zero"),
    ("-5", "minus five"),
    ("\u22123.2", "minus three point two"),
    ("it was -12 outside", "it was minus twelve outside"),
    ("007", "zero zero seven"),
    ("+3", "plus three"),
    ("1e-5", "one times ten to the minus five"),
    ("6.02x10^23", "six point zero two times ten to the twenty three"),
    ("3×10⁸", "three times ten to the eight"),
    ("2^10", "two to the ten"),
    ("5²", "five squared"),
    ("10k followers", "ten thousand followers"),
    (
        "123456789012345678901234",
        "one two three four five six seven eight nine zero one two three four five six seven eight nine zero one two three four",
    ),
    ("version 3.11.2", "version three point eleven point two"),
    ("192.168.0.1", "one hundred ninety two point one hundred sixty eight point zero point one"),
    ("2 + 3 = 5", "two plus three equals five"),
    ("7 - 4 = 3", "seven minus four equals three"),
    ("2*3", "two times three"),
    ("6 ÷ 2", "six divided by two"),
    ("x < 5", "x less than five"),
]

ORDINALS = [
    ("1st", "first"),
    ("2nd place", "second place"),
    ("3rd", "third"),
    ("4th", "fourth"),
    ("5th Avenue", "fifth avenue"),
    ("8th", "eighth"),
    ("9th", "ninth"),
    ("11th", "eleventh"),
    ("12th", "twelfth"),
    ("20th", "twentieth"),
    ("21st", "twenty first"),
    ("the 19th century", "the nineteenth century"),
    ("100th", "one hundredth"),
    ("1,000th", "one thousandth"),
]

DATES = [
    ("May 6, 2024", "may sixth twenty twenty four"),
    ("on January 1st", "on january first"),
    ("Jan. 5, 1999", "january fifth nineteen ninety nine"),
    ("6 May 2024", "the sixth of may twenty twenty four"),
    ("the 4th of July", "the fourth of july"),
    ("the 21st of March, 2010", "the twenty first of march twenty ten"),
    ("December 2019", "december twenty nineteen"),
    ("2024-05-06", "may sixth twenty twenty four"),
    ("5/6/2024", "may sixth twenty twenty four"),
    ("12/31/99", "december thirty first nineteen ninety nine"),
    ("25/12/2020", "december twenty fifth twenty twenty"),
    ("24.12.2024", "december twenty fourth twenty twenty four"),
    ("Mon., Feb. 3", "monday, february third"),
    ("in 1984", "in nineteen eighty four"),
    ("since 1900", "since nineteen hundred"),
    ("in 1905", "in nineteen oh five"),
    ("in 2000", "in two thousand"),
    ("in 2005", "in two thousand five"),
    ("by 2030", "by twenty thirty"),
    ("the 1990s", "the nineteen nineties"),
    ("the '80s", "the eighties"),
    ("the 60s", "the sixties"),
    ("1914-1918", "nineteen fourteen to nineteen eighteen"),
    ("1990–95", "nineteen ninety to nineteen ninety five"),
    ("44 BC", "forty four b c"),
    ("AD is 79 AD", "a d is seventy nine a d"),
    ("1500 people came", "one thousand five hundred people came"),
    ("1500 was a good year", "fifteen hundred was a good year"),
    ("back in '99", "back in ninety nine"),
]

TIMES = [
    ("10:30", "ten thirty"),
    ("at 9:00", "at nine o'clock"),
    ("12:05", "twelve oh five"),
    ("10:30 p.m.", "ten thirty p m."),
    ("at 5 a.m. today", "at five a m today"),
    ("7pm", "seven p m"),
    ("8:15AM", "eight fifteen a m"),
    ("14:00", "fourteen hundred"),
    ("23:59", "twenty three fifty nine"),
    ("10:30:15", "ten thirty and fifteen seconds"),
    ("from 9-5", "from nine to five"),
    ("5:30pm-6:15pm", "five thirty p m to six fifteen p m"),
    ("Mon.-Fri.", "monday to friday"),
]

MONEY = [
    ("$5", "five dollars"),
    ("$1", "one dollar"),
    ("$5.50", "five dollars and fifty cents"),
    ("$0.99", "ninety nine cents"),
    ("$1.01", "one dollar and one cent"),
    ("$20.00", "twenty dollars"),
    ("$1,234.56", "one thousand two hundred thirty four dollars and fifty six cents"),
    ("$5 million", "five million dollars"),
    ("$1.2bn", "one point two billion dollars"),
    ("$5M", "five million dollars"),
    ("$10k", "ten thousand dollars"),
    ("-$5", "minus five dollars"),
    ("$5-10", "five to ten dollars"),
    ("$5-$10 million", "five to ten million dollars"),
    ("€20", "twenty euros"),
    ("20 €", "twenty euros"),
    ("£3.50", "three pounds and fifty pence"),
    ("£0.01", "one penny"),
    ("¥500", "five hundred yen"),
    ("50 USD", "fifty u s dollars"),
    ("5¢", "five cents"),
    ("₹100", "one hundred rupees"),
]

UNITS = [
    ("5 km", "five kilometers"),
    ("1 km", "one kilometer"),
    ("3.5 kg", "three point five kilograms"),
    ("60 mph", "sixty miles per hour"),
    ("100 km/h", "one hundred kilometers per hour"),
    ("20 °C", "twenty degrees celsius"),
    ("-5°F", "minus five degrees fahrenheit"),
    ("90°", "ninety degrees"),
    ("6 ft", "six feet"),
    ("1 ft", "one foot"),
    ("5'11\"", "five feet eleven inches"),
    ("10 lbs", "ten pounds"),
    ("8 oz", "eight ounces"),
    ("2.4GHz", "two point four gigahertz"),
    ("16 GB", "sixteen gigabytes"),
    ("50 m²", "fifty square meters"),
    ("10 m3", "ten cubic meters"),
    ("220V", "two hundred twenty volts"),
    ("5 ms", "five milliseconds"),
    ("3-5 kg", "three to five kilograms"),
    ("9.8 m/s", "nine point eight meters per second"),
    ("5 mg/kg", "five milligrams per kilogram"),
    ("50%", "fifty percent"),
    ("2.5 %", "two point five percent"),
    ("5-10%", "five to ten percent"),
    ("-3%", "minus three percent"),
    ("100 kWh", "one hundred kilowatt hours"),
    ("2 tbsp. of oil", "two tablespoons of oil"),
    ("5 min. Go", "five minutes. go"),
    ("1 in 3", "one in three"),
    ("221B Baker St.", "two hundred twenty one b baker street."),
    ("5 in the morning", "five in the morning"),
]

FRACTIONS_AND_RANGES = [
    ("1/2", "one half"),
    ("3/4", "three quarters"),
    ("2/3 of it", "two thirds of it"),
    ("2 1/2 cups", "two and a half cups"),
    ("1 3/4", "one and three quarters"),
    ("½", "one half"),
    ("3½ hours", "three and a half hours"),
    ("24/7", "twenty four seven"),
    ("50/50", "fifty fifty"),
    ("1st-3rd", "first to third"),
    ("in 25:30", "in twenty five thirty"),
    ("10 cm x 20 cm", "ten centimeters by twenty centimeters"),
    ('a 5" pipe', "a five inches pipe"),
    ("mid-1990s", "mid nineteen nineties"),
    ("2020/21", "twenty twenty to twenty twenty one"),
    ("10^-3", "ten to the minus three"),
    ("10-20", "ten to twenty"),
    ("pages 5–7", "pages five to seven"),
    ("3:1", "three to one"),
    ("1920x1080", "one thousand nine hundred twenty by one thousand eighty"),
    ("3 x 4", "three by four"),
    ("2x faster", "two times faster"),
    ("#5", "number five"),
    ("No. 7", "number seven"),
]

NAMES = [
    ("Dr. Smith", "doctor smith"),
    ("Mr. and Mrs. Jones", "mister and missus jones"),
    ("St. Mary", "saint mary"),
    ("Main St. is closed", "main street is closed"),
    ("Maple Dr.", "maple drive."),
    ("Martin Luther King Jr. spoke", "martin luther king junior spoke"),
    ("cats, dogs, etc.", "cats, dogs, et cetera."),
    ("cats, etc. The end", "cats, et cetera. the end"),
    ("e.g. this", "for example this"),
    ("i.e. that", "that is that"),
    ("Smith vs. Jones", "smith versus jones"),
    ("Acme Inc. grew", "acme incorporated grew"),
    ("fig. 3", "figure three"),
    ("p. 12", "page twelve"),
    ("pp. 5-9", "pages five to nine"),
    ("approx. 5", "approximately five"),
    ("J. R. R. Tolkien", "j r r tolkien"),
    ("John F. Kennedy", "john f kennedy"),
    ("the U.S. Army", "the u s army"),
    ("in the U.S. The end", "in the u s. the end"),
    ("Ph.D. students", "p h d students"),
    ("Henry VIII", "henry the eighth"),
    ("Chapter IV", "chapter four"),
    ("World War II", "world war two"),
    ("Elizabeth II of England", "elizabeth the second of england"),
    ("Apollo XI", "apollo eleven"),
    ("I think", "i think"),
    ("a book. I have it", "a book. i have it"),
    ("Act I, scene 2", "act one, scene two"),
    ("Elizabeth I was queen", "elizabeth the first was queen"),
    ("Did Henry, I wonder?", "did henry, i wonder?"),
    ("as James I know him", "as james i know him"),
    ("Vol. IV", "volume four"),
    ("the FBI", "the f b i"),
    ("NASA said", "nasa said"),
    ("two CDs", "two c d's"),
    ("a USB cable", "a u s b cable"),
    ("STOP SHOUTING NOW", "stop shouting now"),
    ("the IRS and the US", "the i r s and the u s"),
    ("YouTube", "youtube"),
    ("DataFrame", "data frame"),
    ("B2B", "b two b"),
    ("COVID-19", "covid nineteen"),
    ("an mp3 file", "an m p three file"),
    ("Café Zoë", "cafe zoe"),
    ("Straße", "strasse"),
    ("w/o sugar", "without sugar"),
    ("and/or", "and or"),
]

INTERNET = [
    ("www.example.com", "w w w dot example dot com"),
    ("https://example.com/about", "h t t p s colon slash slash example dot com slash about"),
    ("See example.org.", "see example dot org."),
    ("bob.lee@example.com", "bob dot lee at example dot com"),
    ("@nasa", "at nasa"),
    ("#MachineLearning", "hashtag machine learning"),
    ("main.py", "main dot p y"),
    ("call 555-1234", "call five five five one two three four"),
    ("dial 911", "dial nine one one"),
    ("C++ and C#", "c plus plus and c hash"),
    ("(555) 123-4567", "five five five one two three four five six seven"),
    ("1-800-555-0199", "one eight hundred five five five oh one nine nine"),
    ("+44 20 7946 0958", "plus four four two oh seven nine four six oh nine five eight"),
]

SIGNS = [
    ("salt & pepper", "salt and pepper"),
    ("a + b", "a plus b"),
    ("© 2024", "copyright twenty twenty four"),
    ("§ 5", "section five"),
    ("± 2", "plus or minus two"),
    ("π is 3.14", "pi is three point one four"),
    ("Hello 🎉", "hello party popper"),
    ("a → b", "a to b"),
    ("*very* good", "very good"),
    ("“Quoted,” she said", "quoted, she said"),
    ("well-known", "well known"),
    ("wait — what?", "wait, what?"),
    ("Really?!", "really?"),
    ("so… fine", "so, fine"),
    ("So... Fine", "so. fine"),
    ("(aside) on", "aside, on"),
    ("Note: this", "note: this"),
    ("one; two", "one; two"),
    ("don't", "don't"),
    ("rock 'n roll", "rock 'n roll"),
    ("the dogs' bowls", "the dogs bowls"),
]

TABLE = [*NUMBERS, *ORDINALS, *DATES, *TIMES, *MONEY, *UNITS, *FRACTIONS_AND_RANGES, *NAMES, *INTERNET, *SIGNS]


@pytest.mark.parametrize(("written", "spoken"), TABLE, ids=[written for written, _ in TABLE])
def test_what_is_written_is_said_in_words(written: str, spoken: str) -> None:
    assert normalize(written) == spoken


def test_the_table_holds_more_than_150_cases() -> None:
    assert len({written for written, _ in TABLE}) >= 150


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Привет", "another script (Cyrillic)"),
        ("say 你好", "character 4 is a letter of another script (Cjk)"),
        ("\udc80", "half of a character"),
        ("a\ufffdb", "decoded wrongly"),
        ("x" * 65, "more than 64 letters"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(PromptError, match="character") as caught:
        normalize(text)
    assert words in str(caught.value)
    assert caught.value.field == "prompt"


def test_every_number_up_to_a_thousand_is_said_differently() -> None:
    assert len({cardinal(each) for each in range(1000)}) == 1000
    assert len({ordinal(each) for each in range(1000)}) == 1000


def test_years_of_two_centuries_are_said_differently() -> None:
    assert len({year(each) for each in range(1900, 2100)}) == 200


def test_roman_numerals_are_read_and_other_letters_are_not() -> None:
    assert [roman(each) for each in ("I", "IV", "IX", "XL", "XC", "MCMLXXXIV", "MMXXIV")] == [
        1,
        4,
        9,
        40,
        90,
        1984,
        2024,
    ]
    assert [roman(each) for each in ("", "IIII", "VX", "IC", "ABC")] == [None] * 5


@pytest.mark.parametrize(
    "piece", ["1", "a.", "1-", "$1,", "http://", "(", "-", "1/", "V", "'", "a@", "5:", "é\u0301", "x^2 ", "½", "\t\n"]
)
def test_long_runs_of_anything_are_read_in_a_moment(piece: str) -> None:
    normalize(piece * (30 if piece in ("V", "é\u0301") else 3000))
