%% SPDX-License-Identifier: Apache-2.0
%% @doc Which interpreter is chosen: files that are there and files that are not.
-module(hornbeam_python_tests).

-include_lib("eunit/include/eunit.hrl").

interpreter_test_() ->
    {setup, fun setup/0, fun file:del_dir_r/1, fun(Dir) ->
        [{Name, ?_assertEqual(Expected, find(Options))} || {Name, Options, Expected} <- table(Dir)]
    end}.

%% venv/bin/python runs, plain does not; the folder has a name beyond ASCII.
setup() ->
    Unique = integer_to_list(erlang:unique_integer([positive])),
    Dir = filename:join(os:getenv("TMPDIR", "/tmp"), "hornbeam-é-" ++ os:getpid() ++ "-" ++ Unique),
    Python = filename:join([Dir, "venv", "bin", "python"]),
    ok = filelib:ensure_dir(Python),
    ok = file:write_file(Python, "#!/bin/sh\n"),
    ok = file:change_mode(Python, 8#755),
    ok = file:write_file(filename:join(Dir, "plain"), "text"),
    ok = file:change_mode(filename:join(Dir, "plain"), 8#644),
    Dir.

table(Dir) ->
    Venv = utf8(filename:join(Dir, "venv")),
    Python = utf8(filename:join([Dir, "venv", "bin", "python"])),
    Plain = utf8(filename:join(Dir, "plain")),
    OnPath = utf8(os:find_executable("python3")),
    [
        {"a path", #{python => Python}, {ok, Python}},
        {"a name on PATH", #{python => <<"python3">>}, {ok, OnPath}},
        {"the interpreter of a virtual environment", #{venv => Venv}, {ok, Python}},
        {"python3 on PATH when nothing is said", #{}, {ok, OnPath}},
        {"a path where nothing is", #{python => <<"/no/python">>},
            {error, {no_python, <<"/no/python">>}}},
        {"a relative path where nothing is", #{python => <<"./no">>},
            {error, {no_python, <<"./no">>}}},
        {"a name that is not on PATH", #{python => <<"no-such-python">>},
            {error, {no_python, <<"no-such-python">>}}},
        {"a file that cannot be run", #{python => Plain}, {error, {no_python, Plain}}},
        {"a folder that is no virtual environment", #{venv => utf8(Dir)},
            {error, {no_python, <<(utf8(Dir))/binary, "/bin/python">>}}}
    ].

find(Options) ->
    hornbeam_python:interpreter(maps:merge(#{python => undefined, venv => undefined}, Options)).

utf8(Path) -> unicode:characters_to_binary(Path).
