%% SPDX-License-Identifier: Apache-2.0
%% @doc Names that come from outside and must be atoms: nodes, modules, functions, cookies. The one
%% place where hornbeam makes atoms of what it was sent.
%%
%% A name that the node knows costs nothing. One that it does not know becomes an atom when it is
%% well formed and fewer than limit/0 were made since the emulator started: atoms are never freed,
%% and an emulator ends that has 1,048,576 of them. Runs in whoever asks.
-module(hornbeam_names).

-export([init/0, atom/2, made/0, limit/0]).
-export_type([kind/0, failure/0]).

-type kind() :: node | module | function | cookie.
-type failure() ::
    {bad_term, Text :: binary()}
    | {overloaded, Resource :: binary(), Limit :: pos_integer()}.

-define(COUNTER, {?MODULE, made}).
-define(LIMIT, 16384).
%% Characters of an atom.
-define(LONGEST, 255).

%% @doc To be called before anything else; again it has no effect: atoms outlive the application.
-spec init() -> ok.
init() ->
    case persistent_term:get(?COUNTER, none) of
        none -> persistent_term:put(?COUNTER, atomics:new(1, []));
        _ -> ok
    end.

%% @doc The atom for a name that came as text. One that came as an atom is checked, too.
-spec atom(kind(), term()) -> {ok, atom()} | {error, failure()}.
atom(Kind, Name) when is_binary(Name) ->
    case is_well_formed(Kind, Name) of
        true -> known_or_new(Name);
        false -> bad(Kind, Name)
    end;
atom(Kind, Name) when is_atom(Name) ->
    atom(Kind, atom_to_binary(Name));
atom(Kind, Name) ->
    bad(Kind, Name).

known_or_new(Name) ->
    try
        {ok, binary_to_existing_atom(Name)}
    catch
        error:badarg -> new(Name)
    end.

new(Name) ->
    Counter = persistent_term:get(?COUNTER),
    case atomics:add_get(Counter, 1, 1) =< ?LIMIT of
        true ->
            {ok, binary_to_atom(Name)};
        false ->
            ok = atomics:sub(Counter, 1, 1),
            {error, {overloaded, <<"names that were new to this node">>, ?LIMIT}}
    end.

%% @doc How many atoms were made so far.
-spec made() -> non_neg_integer().
made() ->
    atomics:get(persistent_term:get(?COUNTER), 1).

%% @doc How many may be.
-spec limit() -> ?LIMIT.
limit() -> ?LIMIT.

is_well_formed(node, Name) when byte_size(Name) =< ?LONGEST ->
    case binary:split(Name, <<"@">>) of
        [<<_, _/binary>> = Head, <<_, _/binary>> = Host] -> is_head(Head) andalso is_host(Host);
        _ -> false
    end;
is_well_formed(node, _) ->
    false;
is_well_formed(_, Name) when byte_size(Name) =< 4 * ?LONGEST ->
    case unicode:characters_to_list(Name) of
        [_ | _] = Text -> length(Text) =< ?LONGEST andalso not lists:any(fun is_control/1, Text);
        _ -> false
    end;
is_well_formed(_, _) ->
    false.

%% What net_kernel takes before the `@'.
is_head(<<C, Rest/binary>>) when
    C >= $a, C =< $z; C >= $A, C =< $Z; C >= $0, C =< $9; C =:= $_; C =:= $-
->
    is_head(Rest);
is_head(Rest) ->
    Rest =:= <<>>.

%% A host name or an address, of IPv6 also with its zone.
is_host(<<C, Rest/binary>>) when
    C >= $a, C =< $z; C >= $A, C =< $Z; C >= $0, C =< $9; C =:= $_; C >= $-, C =< $.; C =:= $:;
    C =:= $%
->
    is_host(Rest);
is_host(Rest) ->
    Rest =:= <<>>.

is_control(C) -> C < 32 orelse (C >= 127 andalso C < 160).

%% A cookie is not shown.
bad(cookie, _) ->
    {error, {bad_term, <<"a cookie is text of 1 to 255 characters">>}};
bad(Kind, Name) ->
    Got = unicode:characters_to_binary(io_lib:format("~0tp", [Name], [{chars_limit, 100}])),
    {error, {bad_term, <<(expected(Kind))/binary, "; got ", Got/binary>>}}.

expected(node) ->
    <<"the name of a node is text like 'name@host', of at most 255 characters">>;
expected(Kind) ->
    <<"the name of a ", (atom_to_binary(Kind))/binary, " is text of 1 to 255 characters">>.
