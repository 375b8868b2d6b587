"""The schema, as numbered steps that are only ever added to: `migrations` for SQLite, `POSTGRES` for PostgreSQL, of the
same texts. What the two call differently `in_postgres` translates."""

import re

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

migrations = Migrations("palate")


def _run(db: Database, statements: str) -> None:
    for statement in statements.split(";"):
        db.execute(statement)


# `number` counts up by itself: which came last does not hang on a clock. Times are ISO 8601 in UTC; `ask`, `arms`
# and `evidence` are JSON. What is derived (standings, states) has no column.
FIRST = """
create table rater (
    id text primary key,
    created_at text not null
);
create table session (
    id text primary key,
    rater text not null references rater (id),
    created_at text not null
);
create table item (
    id text primary key,
    source text not null,
    source_id text not null,
    kind text not null,
    text text not null,
    community text not null,
    author_hash text not null,
    maker text not null check (maker in ('person', 'project', 'model')),
    created_at text,
    url text not null,
    shuffle text not null
);
create index item_by_shuffle on item (maker, shuffle);
create table signal (
    rater text not null references rater (id),
    item_id text not null references item (id),
    origin text not null,
    sign integer not null check (sign in (-1, 0, 1)),
    strength real not null,
    at text,
    note text not null,
    primary key (rater, item_id, origin)
);
create table summary (
    number integer primary key,
    id text not null unique,
    rater text not null references rater (id),
    text text not null,
    profile_digest text not null,
    reactions integer not null,
    engine text not null,
    made_at text not null
);
create table schedule (
    id text primary key,
    seed integer not null,
    arms text not null,
    made_at text not null
);
create table candidate (
    id text primary key,
    arm text not null,
    item_id text references item (id),
    text text not null,
    evidence text not null,
    tokens integer not null,
    seconds real not null,
    finish text not null,
    made_at text not null
);
create index candidate_by_item on candidate (item_id);
create table trial (
    id text primary key,
    rater text not null references rater (id),
    kind text not null check (kind in ('pair', 'card')),
    role text not null check (role in ('judge', 'teach')),
    left_id text not null references candidate (id),
    right_id text references candidate (id),
    schedule text references schedule (id),
    position integer,
    attempt integer not null,
    ask text not null,
    profile_digest text not null,
    summary text references summary (id),
    engine text not null,
    void_reason text,
    made_at text not null,
    session text references session (id),
    shown_at text,
    check ((kind = 'pair') = (right_id is not null)),
    check ((kind = 'pair') = (role = 'judge'))
);
create index trial_by_rater on trial (rater, kind, shown_at);
create index trial_by_session on trial (session, kind, shown_at);
create index trial_by_left on trial (left_id);
create index trial_by_right on trial (right_id);
create table vote (
    number integer primary key,
    trial_id text not null unique references trial (id),
    choice text not null check (choice in ('left', 'right', 'both', 'neither', 'like', 'dislike', 'skip')),
    at text not null
);
create table undo (
    trial_id text primary key references vote (trial_id),
    at text not null
);
create table flag (
    trial_id text not null references vote (trial_id),
    side text not null check (side in ('left', 'right')),
    kind text not null check (kind in ('sounds_ai', 'offensive')),
    at text not null,
    primary key (trial_id, side, kind)
)
"""


@migrations()
def m001_first(db: Database) -> None:
    _run(db, FIRST)


# Who wrote a summary: 'local', or the host that was asked; `taste` is its structured form, where it has one. What a
# person said yes or no to, word for word; the latest row holds.
SECOND = """
alter table summary add column author text not null default 'local';
alter table summary add column taste text;
create table consent (
    number integer primary key,
    rater text not null references rater (id),
    given integer not null check (given in (0, 1)),
    recipient text not null,
    told text not null,
    at text not null
)
"""


@migrations()
def m002_summary_by_an_api(db: Database) -> None:
    _run(db, SECOND)


# Which arms a person lets take part, as JSON; the latest row holds. `state` names what an arm had learned when it
# wrote: the first digits of the file's sha256, '' where nothing is learned.
THIRD = """
alter table candidate add column state text not null default '';
create table selection (
    number integer primary key,
    rater text not null references rater (id),
    arms text not null,
    at text not null
)
"""


@migrations()
def m003_selection_and_states(db: Database) -> None:
    _run(db, THIRD)


# What a person said about one of their likes: why they like it, and whether it is one of their best. The latest row
# holds, and outranks what an import said.
FOURTH = """
alter table signal add column picked integer not null default 0;
create table remark (
    number integer primary key,
    rater text not null references rater (id),
    item_id text not null references item (id),
    note text not null,
    picked integer not null check (picked in (0, 1)),
    at text not null
);
create index remark_by_rater on remark (rater)
"""


@migrations()
def m004_remarks(db: Database) -> None:
    _run(db, FOURTH)


# `stand_in`: the text is only the words of a link, until the real one is fetched. Every chunk of an import that is on
# disk, and what each import held. What a text is to an encoder, by sha256 of the text, float16. What a person did to
# their profile; the latest row of a kind and an item holds, '' takes it back.
FIFTH = """
alter table item add column stand_in integer not null default 0;
create table chunk (
    number integer primary key,
    rater text not null references rater (id),
    rows integer not null,
    at text not null
);
create index chunk_by_rater on chunk (rater);
create table import (
    number integer primary key,
    rater text not null references rater (id),
    name text not null,
    report text not null,
    saved integer not null,
    started_at text not null,
    ended_at text
);
create table vector (
    text_hash blob not null,
    encoder text not null,
    data blob not null,
    primary key (text_hash, encoder)
);
create table edit (
    number integer primary key,
    rater text not null references rater (id),
    kind text not null check (kind in ('name', 'pin', 'mute', 'out')),
    item_id text not null references item (id),
    value text not null,
    at text not null
);
create index edit_by_rater on edit (rater)
"""


@migrations()
def m005_imports_vectors_edits(db: Database) -> None:
    _run(db, FIFTH)


# Studies. A trial of one judges, whatever its kind; only cards outside of studies teach. `purpose` says what a trial of
# a study is for, `repeats` which earlier one it shows again. A vote holds how long the texts were in view (in
# milliseconds) and whether the page was hidden meanwhile. SQLite changes no check in place: two tables are made anew.
_TRIAL = """
create table trial_new (
    id text primary key,
    rater text not null references rater (id),
    kind text not null check (kind in ('pair', 'card', 'mark')),
    role text not null check (role in ('judge', 'teach')),
    left_id text not null references candidate (id),
    right_id text references candidate (id),
    schedule text references schedule (id),
    position integer,
    attempt integer not null,
    ask text not null,
    profile_digest text not null,
    summary text references summary (id),
    engine text not null,
    void_reason text,
    made_at text not null,
    session text references session (id),
    shown_at text,
    study text references study (id),
    purpose text not null default 'main' check (purpose in ('main', 'practice', 'repeat', 'same', 'salad')),
    repeats text references trial (id),
    check ((kind = 'pair') = (right_id is not null)),
    check (role = 'judge' or kind = 'card'),
    check (study is null or role = 'judge'),
    check (study is not null or (role = 'judge') = (kind = 'pair'))
);
insert into trial_new (id, rater, kind, role, left_id, right_id, schedule, position, attempt, ask, profile_digest,
    summary, engine, void_reason, made_at, session, shown_at)
select id, rater, kind, role, left_id, right_id, schedule, position, attempt, ask, profile_digest, summary, engine,
    void_reason, made_at, session, shown_at from trial;
drop table trial;
alter table trial_new rename to trial;
create index trial_by_rater on trial (rater, kind, shown_at);
create index trial_by_session on trial (session, kind, shown_at);
create index trial_by_left on trial (left_id);
create index trial_by_right on trial (right_id);
create unique index trial_of_study on trial (study, rater, position, attempt) where study is not null;
create table vote_new (
    number integer primary key,
    trial_id text not null unique references trial (id),
    choice text not null check (choice in ('left', 'right', 'both', 'neither', 'like', 'dislike', 'skip', 'funny',
        'not_funny', '1', '2', '3', '4', '5')),
    at text not null,
    viewed_ms integer,
    hidden integer not null default 0 check (hidden in (0, 1))
);
insert into vote_new (number, trial_id, choice, at) select number, trial_id, choice, at from vote;
drop table vote;
alter table vote_new rename to vote
"""
SIXTH = """
create table study (
    id text primary key,
    title text not null,
    settings text not null,
    opened_at text not null
);
create table participant (
    rater text primary key references rater (id),
    study text not null references study (id),
    slot integer not null,
    platform_person text not null,
    platform_session text not null,
    resume_code text not null unique,
    joined_at text not null,
    left_at text,
    ended_at text,
    completion text
);
create unique index participant_of_slot on participant (study, slot) where left_at is null;
create unique index participant_of_submission on participant (study, platform_session) where platform_session <> '';
create table answer (
    rater text not null references participant (rater),
    question text not null,
    value text not null,
    at text not null,
    primary key (rater, question)
);
create table event (
    number integer primary key,
    study text not null references study (id),
    rater text,
    kind text not null,
    told text not null,
    at text not null
);
create table pool (
    study text not null references study (id),
    profile text not null,
    arm text not null,
    topic text not null,
    attempt integer not null,
    candidate_id text not null references candidate (id),
    engine text not null,
    primary key (study, profile, arm, topic, attempt)
)
"""
# What an LLM judge says beside the person's vote. Of a pair: log-odds for the left text, and for whatever stood first
# in either order; of a single text: log-odds that it is funny, less the mean over all that were asked about at once.
_VERDICT = """
create table verdict (
    trial_id text not null references trial (id),
    judge text not null,
    choice text not null check (choice in ('left', 'right', 'tie', 'funny', 'not_funny')),
    score real not null,
    first real not null,
    second real not null,
    at text not null,
    primary key (trial_id, judge)
)
"""
# The one door by which a vote becomes a lesson: cards outside of studies, not withdrawn. A verdict never comes through.
_TAUGHT = """
create view taught as
select v.number, t.rater, c.item_id, case v.choice when 'like' then 1 else -1 end as sign, v.at
from vote v join trial t on t.id = v.trial_id join candidate c on c.id = t.left_id
where t.role = 'teach' and v.choice in ('like', 'dislike') and c.item_id is not null
and not exists (select 1 from undo u where u.trial_id = v.trial_id)
"""


@migrations(transactional=False)
def m006_studies(db: Database) -> None:
    if "study" in db.table_names():  # done, and stopped before that was noted
        return
    db.execute("pragma foreign_keys = off")  # which SQLite heeds outside of a transaction only
    try:
        with db.atomic():
            _run(db, SIXTH)
            _run(db, _TRIAL)
            _run(db, _VERDICT)
            _run(db, _TAUGHT)
            if broken := list(db.query("pragma foreign_key_check")):
                raise ValueError(f"{len(broken)} rows refer to nothing")
    finally:
        db.execute("pragma foreign_keys = on")


# Of a picture the candidate's text is the name of its file; what the image model was told, and how many statements of
# the person's taste did not fit into that.
SEVENTH = """
alter table candidate add column prompt text not null default '';
alter table candidate add column left_out integer not null default 0
"""


@migrations()
def m007_pictures(db: Database) -> None:
    _run(db, SEVENTH)


# A reference of PostgreSQL is to a table and not to its name, so those to the two that were made anew are as well.
_REFERENCES = """
alter table trial add foreign key (repeats) references trial (id);
alter table undo add foreign key (trial_id) references vote (trial_id);
alter table flag add foreign key (trial_id) references vote (trial_id)
"""
POSTGRES = (
    # SQLite numbers rows by itself, and imports are read in that order
    ("m001_first", f"{FIRST}; alter table signal add column rowid bigint generated always as identity"),
    ("m002_summary_by_an_api", SECOND),
    ("m003_selection_and_states", THIRD),
    ("m004_remarks", FOURTH),
    ("m005_imports_vectors_edits", FIFTH),
    ("m006_studies", f"{SIXTH}; {_TRIAL}; {_REFERENCES}; {_VERDICT}; {_TAUGHT}"),
    ("m007_pictures", SEVENTH),
)


def in_postgres(statements: str) -> str:
    """Texts compare byte by byte and numbers are as wide as in SQLite; references can wait for a transaction's end."""
    for here, there in _TYPES:
        statements = re.sub(here, there, statements)
    return statements


_TYPES = (
    (r"\binteger primary key\b", "bigint generated by default as identity primary key"),
    (r"\binteger\b", "bigint"),
    (r"(\w) text(?= (?:primary|not|unique|references)|[,\n;]|$)", r'\1 text collate "C"'),
    (r"\breal\b", "double precision"),
    (r"\bblob\b", "bytea"),
    (r"(\breferences \w+ \(\w+\))", r"\1 deferrable"),
    (r"\bdrop table (\w+)", r"drop table \1 cascade"),
)
