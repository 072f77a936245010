import { inputEnding, outputEnding, pipePrograms, pipesVariable } from "../docker/pipes.ts";
import { secretVariablesVariable } from "./node-preload.ts";

/*
The two Python programs of a server from PyPI. Both keep to Python 3.9 and its standard library.
*/

/** Where uv builds; the same path as in the image, because a virtual environment has its own path in it. */
export const environmentPath = "/app/venv";
export const launcherPath = pipePrograms.python;
export const driverPath = "/build/drive-uv.py";
export const requirementsPath = "/build/requirements.in";

/**
 * Runs uv in a build's container: `resolve PACKAGE` answers with the pinned package and its hashes, `install PACKAGE` with
 * those of every package and with the commands of the one. The answer is JSON on standard output; what uv says goes to
 * standard error, and its exit code is the program's own.
 *
 * Only wheels are taken, so that no code of a package runs while it is installed, and the commands are read without
 * starting the new environment, whose packages could run code at its start.
 */
export const uvDriver = `import compileall
import glob
import importlib.metadata
import json
import subprocess
import sys

ENVIRONMENT = "${environmentPath}"
REQUIREMENTS = "${requirementsPath}"


def uv(*arguments, capture=False):
    done = subprocess.run(
        ["uv", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if capture else sys.stderr, text=True
    )
    if done.returncode != 0:
        sys.exit(done.returncode)
    return done.stdout


def pinned(*more):
    return uv(
        "pip", "compile", REQUIREMENTS, "--generate-hashes", "--only-binary", ":all:", "--no-header", "--no-annotate", *more,
        capture=True,
    )


def commands(package):
    sites = glob.glob(ENVIRONMENT + "/lib/python3*/site-packages")
    found = next(iter(importlib.metadata.distributions(name=package, path=sites)))
    return {entry.name: entry.value for entry in found.entry_points if entry.group == "console_scripts"}


task, package = sys.argv[1:]
if task == "resolve":
    print(json.dumps({"requirements": pinned("--no-deps")}))
else:
    requirements = pinned()
    with open("/build/requirements.txt", "w") as file:
        file.write(requirements)
    uv("venv", "--python", sys.executable, ENVIRONMENT)
    uv(
        "pip", "install", "--python", ENVIRONMENT + "/bin/python", "--require-hashes", "--only-binary", ":all:",
        "-r", "/build/requirements.txt",
    )
    # The server's root is read-only: what is not compiled now is compiled at every start.
    compileall.compile_dir(ENVIRONMENT + "/lib", quiet=2)
    print(json.dumps({"requirements": requirements, "commands": commands(package)}))
`;

/**
 * Starts a package's command as its own script would (\`NAME MODULE:FUNCTION ARGUMENTS…\`), after taking the named pipes it
 * is told of as standard streams, and setting the variables that the server wants from the files under /run/secrets, so that
 * no value stands in the container's configuration.
 */
export const pypiLauncher = `import os
import sys
from importlib.metadata import EntryPoint

pipes = os.environ.pop("${pipesVariable}", None)
if pipes is not None:
    for descriptor, ending, way in ((0, "${inputEnding}", os.O_RDONLY), (1, "${outputEnding}", os.O_WRONLY)):
        end = os.open(pipes + ending, way)
        os.dup2(end, descriptor)
        os.close(end)
    os.write(1, b"\\n")

for pair in filter(None, os.environ.pop("${secretVariablesVariable}", "").split(",")):
    variable, name = pair.split(":")
    try:
        with open("/run/secrets/" + name, encoding="utf-8", newline="") as file:
            os.environ[variable] = file.read()
    except FileNotFoundError:
        pass  # An optional secret without a value has no file.

_, command, target, *arguments = sys.argv
sys.argv = ["${environmentPath}/bin/" + command, *arguments]
here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if place != here]
sys.exit(EntryPoint(command, target, "console_scripts").load()())
`;
