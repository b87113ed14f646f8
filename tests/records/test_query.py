import shutil

import duckdb
import pytest

from segsweep import records
from segsweep.errors import UserError
from segsweep.records.schema import SCHEMA_VERSION, TABLES, identity_column
from segsweep.records.writer import RecordWriter

QUESTION = "select source, avg(test_iou) from trials where phase='confirm' group by 1"


def confirm(writer: RecordWriter, start_columns, identity: str, test_iou: float | None, **columns) -> None:
    """Write a confirmed run with one image and one count."""
    writer.start("trials", identity, start_columns(identity, phase="confirm", **columns))
    pixels = {"image": "a", "class": "pet", "hit": 7, "true": 9, "predicted": 8}
    confusion = {"truth": "pet", "predicted": "pet", "pixels": 7}
    tables = {"images": [{"image": "a", "iou": 0.5}], "counts": [pixels], "confusions": [confusion]}
    writer.end(identity, "finished", {"test_iou": test_iou}, tables)


@pytest.fixture(scope="module")
def study(tmp_path_factory, begin, start_columns, write, epoch_row):
    """A study in `runs/` with confirmed runs in a part and in lines, a tuning trial, a stage and a running trial. Read only."""
    folder = tmp_path_factory.mktemp("queried") / "runs" / "s"
    writer = begin(folder)
    writer.start("stages", "g", {"study": "s", "stage_id": "g", "stage": "supervised:pets"})
    writer.end("g", "finished", {"key": "k"})
    writer.start("scores", "scored", {"study": "s", "score_id": "scored", "source": "supervised:pets"})
    writer.end("scored", "finished", {"logme": -0.9, "seconds": 3.0})
    confirm(writer, start_columns, "a", 0.25)
    writer.compact()
    confirm(writer, start_columns, "b", 0.75)
    confirm(writer, start_columns, "undefined", None, augmentation="flip")
    write(writer, "tuned", epochs=3)
    writer.start("trials", "runs now", start_columns("runs now"))
    writer.epoch("runs now", epoch_row(1))
    yield folder
    writer.__exit__(None, None, None)


@pytest.fixture(scope="module")
def loaded(study):
    """The records of this study."""
    return records.load(study)


def test_a_query_over_all_studies_in_runs(study, monkeypatch):
    """Without a named study all studies in `runs/` are queried, also while one is written; undefined scores are NULL."""
    monkeypatch.chdir(study.parent.parent)
    answer = records.sql(QUESTION)
    assert answer.to_dict("records") == [{"source": "random", "avg(test_iou)": 0.5}]


def test_a_score_keeps_its_seconds(study):
    """A task without epochs has the seconds that it states at its end; others have the sum of their epochs."""
    found = records.sql("select seconds from scores union all select seconds from trials where trial_id = 'tuned'", study)
    assert found["seconds"].tolist() == [3.0, 6.0]


def test_a_query_over_loaded_records(study):
    """Loaded records give the same answer, as of the time of loading."""
    loaded = records.load(study)
    assert loaded.sql(QUESTION).equals(records.sql(QUESTION, study))
    assert loaded.sql("select status, count(*) n from trials group by all order by 1").values.tolist() == [
        ["finished", 4],
        ["running", 1],
    ]


@pytest.mark.parametrize("table", TABLES)
def test_every_table_can_be_queried(loaded, table):
    """Each table has all rows and columns of its data frame."""
    data = getattr(loaded, table)
    answer = records.sql(f"select * from {table}", loaded)
    assert list(answer.columns) == list(data.columns)
    assert len(answer) == len(data) > 0
    identity = identity_column(table)
    assert answer[identity].tolist() == data[identity].tolist()
    assert answer.isna().to_numpy().tolist() == data.isna().to_numpy().tolist()


def test_tables_join(study):
    """Tables can be joined: counts of the confusion matrices with columns of the trials table."""
    answer = records.sql("select trial_id, test_iou, pixels from trials join confusions using (trial_id) order by 1", study)
    assert answer[["trial_id", "pixels"]].values.tolist() == [["a", 7], ["b", 7], ["undefined", 7]]


def test_rows_of_several_studies_are_concatenated(study, tmp_path, begin, start_columns):
    """Studies with different columns or column types can be queried together; a missing column is NULL."""
    other = begin(tmp_path / "other")
    other.declare({"schema_version": SCHEMA_VERSION, "name": "o"})
    confirm(other, start_columns, "c", 1.0, study="o", augmentation=5, only_here=True)
    other.__exit__(None, None, None)
    query = "select study, count(*) n, max(augmentation) augmentation, bool_or(only_here) here from trials group by 1 order by 1"
    for answer in (records.sql(query, study, tmp_path / "other"), records.sql(query, records.load(tmp_path / "other"), study)):
        assert answer[["study", "n", "augmentation"]].values.tolist() == [["o", 1, "5"], ["s", 5, "flip"]]
        assert answer["here"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select nope from trials", r'"nope" not found .*; tables: trials, .*; all columns: describe trials$'),
        ("select test_iu from trials", r"like it in trials: test_iou(, \w+){0,2}; all columns: describe trials$"),
        ("select t.TEST_IU from trials t", r"like it in trials: test_iou(, \w+){0,2}; all columns: describe trials$"),
        ("select a.x from epochs a join IMAGES b using (trial_id)", r"describe epochs; .*: describe images$"),
        (
            "select * from nope",
            r"name nope does not exist.*; tables: trials, stages, scores, epochs, images, counts, confusions; all_trials",
        ),
        ("selec", r"sql: Parser Error: syntax error .*; tables: "),
        ("", r"tables: "),
    ],
)
def test_a_bad_query_lists_tables_and_columns(loaded, query, message):
    """A failing query raises one line: DuckDB's reason, the tables, the nearest columns, and the query that lists all."""
    with pytest.raises(UserError, match=message) as caught:
        records.sql(query, loaded)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        "copy trials to 'new.csv'",
        "export database 'new'",
        "attach 'new.db'",
        "set log_query_path = 'new.log'",
        "pragma profiling_output = 'new.json'",
        "call enable_logging(storage = 'file', storage_config = {'path': 'new.log'})",
        "select * from 'there.csv'",
        "select * from read_text('there.csv')",
        "select * from glob('*')",
        "install httpfs",
        "set enable_external_access = true",
        "reset lock_configuration",
        "select * from secret",
    ],
)
def test_a_query_reaches_nothing_else(loaded, tmp_path, monkeypatch, query):
    """No query writes or reads a file, loads an extension, lifts these limits, or sees variables of the process."""
    monkeypatch.chdir(tmp_path)
    secret = loaded.trials  # noqa: F841
    (tmp_path / "there.csv").write_text("a,b\n1,2\n")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"^sql: "):
        records.sql(query, loaded)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "query",
    [
        "select freeze, avg(test_iou) from trials group by 1",
        "select count(*) from trials group by freeze",
        "select * from trials where Freeze='none'",
    ],
)
def test_freeze_without_quotes_is_explained(loaded, query):
    """If a query fails at the column `freeze`, the message explains it; with quotes the query works."""
    with pytest.raises(UserError, match=r'syntax error .*; "freeze" is a keyword of SQL: write the column in double quotes; '):
        records.sql(query, loaded)
    with pytest.raises(UserError) as caught:
        records.sql("""select "freeze", 'freeze' from trials where""", loaded)
    assert "keyword of SQL" not in str(caught.value)


def test_no_other_column_is_a_keyword_of_sql():
    """All columns except `freeze` and `true` work without quotes."""
    words = "select keyword_name from duckdb_keywords() where keyword_category != 'unreserved'"
    with duckdb.connect() as connection:
        reserved = {word for (word,) in connection.execute(words).fetchall()}
    assert reserved & {name for columns in TABLES.values() for name in columns} == {"freeze", "true"}


@pytest.mark.parametrize(
    "query",
    [
        "select sum(hit) / sum(true) from counts",
        "select image from Counts where TRUE",
        'select sum(true) from trials t, "counts" c where c.trial_id = t.trial_id',
        "select sum(true) from trials join main.counts using (trial_id)",
        "select 'it''s', sum(true) from counts -- = true",
        "select hit, true, predicted from counts",
        "select image from counts where hit = true",
        "select image from counts where predicted >= true",
    ],
)
def test_the_column_true_of_counts_needs_its_quotes(loaded, query):
    """Without quotes `true` is a constant, whose sum counts rows: such a query over `counts` is refused."""
    with pytest.raises(
        UserError, match=r'^sql: "true" is a column of counts and a keyword of SQL: write the column in double quotes'
    ):
        records.sql(query, loaded)
    assert records.sql('select sum(hit) / sum("true") as recall from counts', loaded)["recall"].item() == pytest.approx(7 / 9)


@pytest.mark.parametrize(
    "query",
    [
        "select * from counts where image = 'a true story'",
        "select * from counts where image = $$true$$",
        "with counts as (select * from trials where planned = true) select * from counts where true",
        "select * from counts join trials using (trial_id) where trials.chosen is true",
        "select * from counts join trials using (trial_id) where trials.chosen is not true and planned <> true",
        "select * from counts -- is true\n",
        "select * from counts /* true */",
        'select "true" as "a true one" from counts',
        "select count(*) as counts from trials where true",
        "select 'from counts' from trials where true",
    ],
)
def test_true_as_a_constant_is_allowed(loaded, query):
    """Strings, comments, comparisons with `true`, and queries over tables other than `counts` are answered."""
    records.sql(query, loaded)


def test_a_study_is_queried_once(study, tmp_path, monkeypatch):
    """A study that is named twice, or whose copy is in `runs/`, would count twice: the error names both."""
    monkeypatch.chdir(tmp_path)
    advice = "both hold the study 's', whose rows would count twice; name the studies to query, with only one of these two$"
    with pytest.raises(UserError, match=f"^{study} and {study}: {advice}"):
        records.sql(QUESTION, study, records.load(study))
    for name in ("copy", "s"):
        shutil.copytree(study, tmp_path / "runs" / name)
    with pytest.raises(UserError, match=f"^runs/copy and runs/s: {advice}"):
        records.sql(QUESTION)


def test_no_study_is_one_line(tmp_path, monkeypatch):
    """If `runs/` contains no study, one line says so."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^runs/: holds no study to query; run one, or name the folders of studies$"):
        records.sql(QUESTION)
