"""There are no secrets in files of `cluster/`, nor in the files that a job or an image copies."""

import re

import pytest
from cluster_files.repository import ROOT, files, shown

NAMES = r"(?i:password|passwd|secret_?access_?key|api_?key|auth_?token|_token)"
SECRETS = {
    "an AWS key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a service's token": r"\b(ghp_|github_pat_|hf_|sk-|xox[abp]-|glpat-|ya29\.)[A-Za-z0-9_-]{10,}",
    "random text": r"(?<![\w/.-])(?=[A-Za-z+/]*\d)[A-Za-z0-9+][A-Za-z0-9+/]{31,}(?![\w/.])",
    "the value of a secret": NAMES + r"[\"']?\s*[:=]\s*[\"']?(?!null|\$|~|token\b)[\w+/-]{6,}",
}
SECRET = re.compile("|".join(SECRETS.values()))


@pytest.mark.parametrize("path", [*files(), ROOT / ".rayignore", ROOT / ".dockerignore"], ids=shown)
def test_no_file_holds_a_secret(path):
    """No key, token or password is in a file, not even as an example."""
    assert SECRET.search(path.read_text(encoding="utf-8")) is None


@pytest.mark.parametrize(
    "line",
    [
        "AWS_ACCESS_KEY_ID=" + "AKIA" + "IOSFODNN7EXAMPLE",
        "aws_secret_access_key: " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
        "export RAY_AUTH_TOKEN=" + "5f0c" * 16,
        "  RAY_AUTH_TOKEN: swordfish",
        "password: swordfish",
        "WANDB_API_KEY=" + "local-0a1b2c3d",
        "token " + "hf_" + "abcdefghijklmnop",
        "-----BEGIN OPENSSH PRIVATE " + "KEY-----",
        "5f0c" * 16,
    ],
)
def test_secrets_are_noticed(line):
    """The check finds each kind of secret."""
    assert SECRET.search(line)
