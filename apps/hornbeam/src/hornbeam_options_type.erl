%% SPDX-License-Identifier: Apache-2.0
%% @doc Types of options: is a value of the type, what does it become, how is the type called.
%% Pure, but for `bind', which resolves host names; runs in the process that checks the options.
-module(hornbeam_options_type).

-export([check/2, expected/1, text/1]).
-export_type([type/0]).

-type bound() :: integer() | infinity.
-type type() ::
    boolean
    | {integer, Min :: integer(), Max :: bound()}
    %% An integer, or the atom `infinity'.
    | {limit, Min :: integer(), Max :: bound()}
    %% Integer or float.
    | {number, Min :: number(), Max :: number()}
    | {one_of, [atom(), ...]}
    %% A non-empty list of some of the atoms, each once.
    | {some_of, [atom(), ...]}
    %% Not empty; `undefined' for none.
    | optional_text
    | texts
    %% Names of cipher suites, as hornbeam_ciphers takes them; `undefined' for none.
    | ciphers
    | environment
    | hooks
    | rpc_allow
    %% Names and values, see hornbeam_labels.
    | labels
    | cluster
    | bind.

%% @doc The value in its one normal form: texts are UTF-8 binaries, an environment is an ordered
%% list, `bind' a list of `hornbeam_bind:bind()'. `{error, What}' where more can be said than that
%% another type was expected.
-spec check(type(), term()) -> {ok, term()} | error | {error, What :: binary()}.
check(boolean, Value) when is_boolean(Value) -> {ok, Value};
check({integer, Min, Max}, Value) when is_integer(Value), Value >= Min, Value =< Max -> {ok, Value};
check({limit, _, _}, infinity) -> {ok, infinity};
check({limit, Min, Max}, Value) when is_integer(Value) -> check({integer, Min, Max}, Value);
check({number, Min, Max}, Value) when is_number(Value), Value >= Min, Value =< Max -> {ok, Value};
check({one_of, Atoms}, Value) when is_atom(Value) -> member(Value, Atoms);
check({some_of, Atoms}, [_ | _] = Value) -> subset(Value, Atoms);
check(optional_text, undefined) -> {ok, undefined};
check(optional_text, Value) -> not_empty(text(Value));
check(texts, Value) -> texts(Value);
check(ciphers, undefined) -> {ok, undefined};
check(ciphers, Value) -> ciphers(texts(Value));
check(environment, Value) when is_map(Value) -> environment(maps:to_list(Value), []);
check(environment, Value) when is_list(Value) -> environment(Value, []);
check(hooks, Value) when is_map(Value) -> hooks(Value);
check(rpc_allow, Value) -> hornbeam_rpc_allow:check(Value);
check(labels, Value) -> hornbeam_labels:check(Value);
check(cluster, Value) -> hornbeam_cluster_options:check(Value);
check(bind, Value) -> hornbeam_bind:check(Value);
check(_, _) -> error.

%% @doc The type in words, to stand after "expected".
-spec expected(type()) -> binary().
expected(boolean) -> <<"true or false">>;
expected({integer, Min, infinity}) -> words(["an integer of at least ", shown(Min)]);
expected({integer, Min, Max}) -> words(["an integer of ", shown(Min), " to ", shown(Max)]);
expected({limit, Min, Max}) -> words([expected({integer, Min, Max}), ", or infinity"]);
expected({number, Min, Max}) -> words(["a number of ", shown(Min), " to ", shown(Max)]);
expected({one_of, Atoms}) -> words(lists:join(" or ", shown_each(Atoms)));
expected({some_of, Atoms}) -> words(["a list of ", lists:join(" and/or ", shown_each(Atoms))]);
expected(optional_text) -> <<"a string or binary that is not empty">>;
expected(texts) -> <<"a list of strings or binaries">>;
expected(ciphers) ->
    <<"names of cipher suites (\"ECDHE-RSA-AES256-GCM-SHA384\") with colons between, or a list">>;
expected(environment) -> <<"a map or list of names and values, both text, false to unset a name">>;
expected(hooks) -> <<"a map of on_request => fun/1, on_response => fun/1, on_error => fun/2">>;
expected(rpc_allow) ->
    <<"all, none, or a list of Module, {Module, Function}, {Module, Function, Node}, each an atom "
        "or text">>;
expected(labels) ->
    <<"a map of at most 64 names and values, texts or integers of at most 255 bytes">>;
expected(cluster) -> hornbeam_cluster_options:expected();
expected(bind) -> <<"\"host:port\", \"[v6]:port\", a port, \"unix:/path\", or a list of these">>.

shown_each(Atoms) -> [shown(Atom) || Atom <- Atoms].

shown(Term) -> io_lib:format("~p", [Term]).

words(Text) -> iolist_to_binary(Text).

%% @doc A string (list of code points) or UTF-8 binary as a UTF-8 binary. NUL is refused: no path,
%% name or value that reaches the operating system can hold one.
-spec text(term()) -> {ok, binary()} | error.
text(Value) when is_binary(Value) -> without_nul(unicode:characters_to_binary(Value));
text([]) -> {ok, <<>>};
text([C | _] = Value) when is_integer(C) ->
    try lists:all(fun is_integer/1, Value) andalso unicode:characters_to_binary(Value) of
        Text -> without_nul(Text)
    catch
        %% An improper list.
        error:function_clause -> error
    end;
text(_) -> error.

without_nul(Text) when is_binary(Text) ->
    case binary:match(Text, <<0>>) of
        nomatch -> {ok, Text};
        _ -> error
    end;
without_nul(_NoUnicode) ->
    error.

not_empty({ok, <<>>}) -> error;
not_empty(Result) -> Result.

member(Value, Atoms) ->
    case lists:member(Value, Atoms) of
        true -> {ok, Value};
        false -> error
    end.

subset(Value, Atoms) ->
    case is_list_of(fun is_atom/1, Value) andalso {Value -- Atoms, lists:usort(Value)} of
        {[], Once} when length(Once) =:= length(Value) -> {ok, Value};
        _ -> error
    end.

is_list_of(_, []) -> true;
is_list_of(Is, [Element | Rest]) -> Is(Element) andalso is_list_of(Is, Rest);
is_list_of(_, _Improper) -> false.

%% One string alone is taken for a list of one.
texts([C | _] = Value) when is_integer(C) -> texts([Value]);
texts(Value) when is_binary(Value) -> texts([Value]);
texts(Value) -> texts(Value, []).

texts([Value | Rest], Done) ->
    case not_empty(text(Value)) of
        {ok, Text} -> texts(Rest, [Text | Done]);
        error -> error
    end;
texts([], Done) -> {ok, lists:reverse(Done)};
texts(_, _) -> error.

ciphers({ok, [_ | _] = Texts}) ->
    Names = lists:append([binary:split(Text, <<":">>, [global]) || Text <- Texts]),
    case hornbeam_ciphers:check(Names) of
        ok -> {ok, Names};
        {error, Name} -> {error, words(["\"", Name, "\" is none that this node knows"])}
    end;
ciphers(_) ->
    error.

environment([{Name, Value} | Rest], Done) ->
    case {variable(text(Name)), setting(Value)} of
        {{ok, NameText}, {ok, Setting}} -> environment(Rest, [{NameText, Setting} | Done]);
        _ -> error
    end;
environment([], Done) -> unique(lists:sort(Done));
environment(_, _) -> error.

%% "=" ends the name in what execve(2) takes.
variable({ok, Name}) when Name =/= <<>> ->
    case binary:match(Name, <<"=">>) of
        nomatch -> {ok, Name};
        _ -> error
    end;
variable(_) -> error.

setting(false) -> {ok, false};
setting(Value) -> text(Value).

unique(Sorted) ->
    Names = [Name || {Name, _} <- Sorted],
    case Names -- lists:usort(Names) of
        [] -> {ok, Sorted};
        [Twice | _] -> {error, words(["it names \"", Twice, "\" twice"])}
    end.

hooks(Hooks) ->
    Arities = #{on_request => 1, on_response => 1, on_error => 2},
    Good = fun({Name, Fun}) -> is_function(Fun, maps:get(Name, Arities, none)) end,
    Known = maps:without(maps:keys(Arities), Hooks) =:= #{},
    case Known andalso lists:all(Good, maps:to_list(Hooks)) of
        true -> {ok, Hooks};
        false -> error
    end.
