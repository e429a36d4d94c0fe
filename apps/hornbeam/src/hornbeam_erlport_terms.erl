%% SPDX-License-Identifier: Apache-2.0
%% @doc Values between Erlang code written for ErlPort and our workers, and the results of calls.
%% Pure; runs in the process of the instance and in those beside it.
%%
%%               in Erlang           `erlport'          `hornbeam'
%%   to Python   binary              bytes              str, or bytes when it is not UTF-8
%%               {bytes, Binary}     tuple              bytes
%%   to Erlang   str                 [character]        binary
%%               bytes               binary             {bytes, Binary}
%% Maps, pids, references and funs arrive as what they are; ErlPort made opaque objects of them.
%% Opaque objects of other languages are pickles, which nobody loads here: they are refused.
-module(hornbeam_erlport_terms).

-export([to_python/2, from_python/2, result/2]).
-export_type([values/0]).

-type values() :: erlport | hornbeam.

-spec to_python(term(), values()) -> {ok, term()} | {error, {opaque, Language :: term(), binary()}}.
to_python(Term, Values) ->
    try
        {ok, out(Term, Values)}
    catch
        throw:{opaque, Language} ->
            Text = <<"an opaque object of ErlPort is a pickle or the like, which is never loaded: "
                "send the value in terms of Erlang">>,
            {error, {opaque, Language, Text}}
    end.

out({'$erlport.opaque', erlang, Data}, Values) when is_binary(Data) ->
    try binary_to_term(<<131, Data/binary>>, [safe]) of
        Term -> out(Term, Values)
    catch
        error:badarg -> throw({opaque, erlang})
    end;
out({'$erlport.opaque', Language, _}, _) ->
    throw({opaque, Language});
out(Binary, erlport) when is_binary(Binary) ->
    {bytes, Binary};
out(Term, Values) ->
    each(fun(Part) -> out(Part, Values) end, Term).

-spec from_python(term(), values()) -> term().
from_python(Term, hornbeam) -> Term;
from_python({bytes, Binary}, erlport) when is_binary(Binary) -> Binary;
from_python({ndarray, _, _, _} = Array, erlport) -> Array;
from_python(Text, erlport) when is_binary(Text) -> characters(Text);
from_python(Term, erlport) -> each(fun(Part) -> from_python(Part, erlport) end, Term).

characters(Text) ->
    case unicode:characters_to_list(Text) of
        Characters when is_list(Characters) -> Characters;
        %% a str with lone surrogates is no UTF-8
        _ -> Text
    end.

each(Fun, [Head | Tail]) -> [Fun(Head) | rest(Fun, Tail)];
each(Fun, Tuple) when is_tuple(Tuple) -> list_to_tuple([Fun(T) || T <- tuple_to_list(Tuple)]);
each(Fun, Map) when is_map(Map) ->
    maps:from_list([{Fun(Key), Fun(Value)} || {Key, Value} <- maps:to_list(Map)]);
each(_, Term) -> Term.

rest(Fun, [Head | Tail]) -> [Fun(Head) | rest(Fun, Tail)];
rest(_, []) -> [];
rest(Fun, ImproperTail) -> Fun(ImproperTail).

%% @doc What a call of a worker came to, as ErlPort's callers know it. The type of an exception is
%% an atom where the node has it already: then some code may look for it.
-spec result({ok, term()} | {error, hornbeam_caller:fault()}, values()) ->
    {ok, term()} | {error, term()}.
result({ok, {<<"r">>, Value}}, Values) ->
    {ok, from_python(Value, Values)};
result({ok, {<<"e">>, Type, Text, Trace}}, Values) ->
    {error, {python, existing(Type), from_python(Text, Values), from_python(Trace, Values)}};
result({error, {<<"handler_error">>, #{<<"type">> := Type, <<"message">> := Text}}}, Values) ->
    %% SystemExit and the like, which are no errors
    {error, {python, existing(Type), from_python(Text, Values), []}};
result({error, {<<"timeout">>, _}}, _) ->
    %% the worker has noticed it before us
    {error, timeout};
result({error, node_down}, _) ->
    {error, {port_closed, worker_ended}};
result({error, {Name, #{reason := Text}}}, Values) ->
    {error, {python, existing(Name), from_python(Text, Values), []}};
result({error, {Name, Details}}, Values) when is_map(Details) ->
    Text = maps:get(<<"reason">>, Details, Name),
    {error, {python, existing(Name), from_python(Text, Values), []}};
result({error, Reason}, _) ->
    {error, Reason}.

existing(Name) ->
    try
        binary_to_existing_atom(Name)
    catch
        error:badarg -> Name
    end.
