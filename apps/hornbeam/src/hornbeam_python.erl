%% SPDX-License-Identifier: Apache-2.0
%% @doc Which interpreter runs the workers: the option `python', that of `venv', or `python3' on
%% PATH. Looks at the file system; runs in the process that calls `hornbeam:start'.
-module(hornbeam_python).

-export([interpreter/1]).

-spec interpreter(hornbeam_options:config()) -> {ok, binary()} | {error, {no_python, binary()}}.
interpreter(#{python := Python}) when Python =/= undefined ->
    find(Python);
interpreter(#{venv := Venv}) when Venv =/= undefined ->
    find(filename:join([Venv, <<"bin">>, <<"python">>]));
interpreter(_) ->
    find(<<"python3">>).

%% A name is looked for on PATH; a path is taken as it is, from the current directory.
find(Python) ->
    Text = unicode:characters_to_list(Python),
    Name =
        case lists:member($/, Text) of
            true -> filename:absname(Text);
            false -> Text
        end,
    case os:find_executable(Name) of
        false -> {error, {no_python, Python}};
        Path -> {ok, unicode:characters_to_binary(Path)}
    end.
