"""kcat from the shell: produce, consume, list, ask for offsets, and a group, each as in its manual."""

import shutil
import subprocess
import sys

from harness.cases import case, equal, fresh, main

SECONDS = 30


class Kcat:
    """The command, bound to one broker."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def __call__(self, *arguments, stdin=""):
        command = ["kcat", "-b", self.bootstrap, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, f"{command} exited with {done.returncode}: {done.stderr}"
        return done.stdout


@case
def lines_in_and_out(kcat):
    topic = fresh("topic")
    kcat("-t", topic, "-P", stdin="one tea\ntwo teas\n")
    equal(kcat("-t", topic, "-C", "-o", "beginning", "-e", "-q"), "one tea\ntwo teas\n")
    equal(kcat("-t", topic, "-C", "-o", "-1", "-e", "-q"), "two teas\n")


@case
def keys_headers_and_codecs(kcat):
    topic = fresh("topic")
    codecs = ("gzip", "snappy", "lz4", "zstd")
    for codec in codecs:
        kcat("-t", topic, "-P", "-K", ":", "-H", "codec=" + codec, "-z", codec, stdin=f"{codec}:value\n")
    shown = kcat("-t", topic, "-C", "-o", "beginning", "-e", "-q", "-f", "%o %k %s %h\\n")
    expected = [f"{offset} {codec} value codec={codec}" for offset, codec in enumerate(codecs)]
    equal(shown.splitlines(), expected)


@case
def the_cluster_is_listed(kcat):
    topic = fresh("topic")
    kcat("-t", topic, "-P", stdin="x\n")
    shown = kcat("-L")
    assert f"broker 1 at {kcat.bootstrap} (controller)" in shown, shown
    assert f'topic "{topic}" with 1 partitions' in shown, shown


@case
def offsets_are_asked_for_by_time(kcat):
    topic = fresh("topic")
    kcat("-t", topic, "-P", stdin="one\ntwo\n")
    equal(kcat("-Q", "-t", f"{topic}:0:-1").strip(), f"{topic} [0] offset 2")
    equal(kcat("-Q", "-t", f"{topic}:0:-2").strip(), f"{topic} [0] offset 0")
    equal(kcat("-Q", "-t", f"{topic}:0:1").strip(), f"{topic} [0] offset 0")


@case
def a_group_reads_on_where_it_stopped(kcat):
    topic, group = fresh("topic"), fresh("group")
    kcat("-t", topic, "-P", stdin="one\ntwo\nthree\n")
    earliest = ("-X", "auto.offset.reset=earliest", "-q")
    equal(kcat("-G", group, *earliest, "-c", "2", topic), "one\ntwo\n")
    equal(kcat("-G", group, *earliest, "-c", "1", topic), "three\n")


if __name__ == "__main__":
    if shutil.which("kcat") is None:
        print("skip all: kcat is not installed")
        sys.exit()
    main(lambda function, bootstrap: function(Kcat(bootstrap)))
